import type { Attestor } from './attest/attestor.ts';
import { containerOf } from './attest/container/container-of.ts';
import type { Contexts } from './attest/contexts.ts';
import { dockerAttestor } from './attest/engine/docker.ts';
import type { EngineAttestorOptions } from './attest/engine/engine-attestor.ts';
import { podmanAttestor } from './attest/engine/podman.ts';
import { ApiServer, SERVICE_ACCOUNT } from './attest/k8s/api-server.ts';
import { K8sAttestor } from './attest/k8s/k8s-attestor.ts';
import { Kubelet } from './attest/k8s/kubelet.ts';
import { SystemdAttestor } from './attest/systemd/systemd-attestor.ts';
import { NameCache } from './attest/unix/name-cache.ts';
import { UnixAttestor } from './attest/unix/unix-attestor.ts';
import type { Config } from './config/config.ts';
import type { Clock } from './kernel/clock.ts';
import { Names } from './peer/system/names.ts';

/**
 * The attestors that a configuration switches on; `unix` always is one. Whoever gets them closes them.
 *
 * @throws MayflyError `INVALID_CONFIG` where the environment lacks what one is to be made of
 */
export function attestorsOf({ attestors }: Config, contexts: Contexts, clock: Clock): readonly Attestor[] {
  const { docker, k8s, podman, systemd, unix } = attestors;
  const options: EngineAttestorOptions = { contexts, clock, placeOf: containerOf };
  return [
    new UnixAttestor(new NameCache(new Names(), { clock }), { ...unix, clock }),
    ...(docker.enabled ? [dockerAttestor(docker.socket, options)] : []),
    ...(podman.enabled ? [podmanAttestor(podman, options)] : []),
    ...(k8s.enabled ? [k8sAttestor(k8s, options)] : []),
    ...(systemd.enabled ? [new SystemdAttestor({ ...systemd, contexts, clock })] : []),
  ];
}

function k8sAttestor(k8s: Config['attestors']['k8s'], options: EngineAttestorOptions): K8sAttestor {
  const { clock } = options;
  // The kubelet knows no labels of namespaces.
  const namespaces = k8s.enableNamespaceLabels
    ? new ApiServer(process.env, { serviceAccount: SERVICE_ACCOUNT, clock })
    : undefined;
  return new K8sAttestor(new Kubelet(k8s, process.env, clock), { ...k8s, ...options, namespaces });
}
