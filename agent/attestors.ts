import type { Attestor } from './attest/attestor.ts';
import { containerOf } from './attest/container/container-of.ts';
import type { Contexts } from './attest/contexts.ts';
import type { EngineAttestorOptions } from './attest/engine/engine-attestor.ts';
import { NameCache } from './attest/unix/name-cache.ts';
import { UnixAttestor } from './attest/unix/unix-attestor.ts';
import type { Config } from './config/config.ts';
import type { Clock } from './kernel/clock.ts';
import { Names } from './peer/system/names.ts';

/**
 * The attestors that a configuration switches on; `unix` always is one. What the others are made of is loaded only when they are. Whoever
 * gets them closes them.
 *
 * @throws MayflyError `INVALID_CONFIG` where the environment lacks what one is to be made of
 */
export async function attestorsOf(
  { attestors }: Config,
  contexts: Contexts,
  clock: Clock,
): Promise<readonly Attestor[]> {
  const { docker, k8s, podman, systemd, unix } = attestors;
  const options: EngineAttestorOptions = { contexts, clock, placeOf: containerOf };
  const wanted: Attestor[] = [new UnixAttestor(new NameCache(new Names(), { clock }), { ...unix, clock })];
  if (docker.enabled) {
    const { dockerAttestor } = await import('./attest/engine/docker.ts');
    wanted.push(dockerAttestor(docker.socket, options));
  }
  if (podman.enabled) {
    const { podmanAttestor } = await import('./attest/engine/podman.ts');
    wanted.push(podmanAttestor(podman, options));
  }
  if (k8s.enabled) wanted.push(await k8sAttestor(k8s, options));
  if (systemd.enabled) {
    const { SystemdAttestor } = await import('./attest/systemd/systemd-attestor.ts');
    wanted.push(new SystemdAttestor({ ...systemd, contexts, clock }));
  }
  return wanted;
}

async function k8sAttestor(k8s: Config['attestors']['k8s'], options: EngineAttestorOptions): Promise<Attestor> {
  const [{ ApiServer, SERVICE_ACCOUNT }, { K8sAttestor }, { Kubelet }] = await Promise.all([
    import('./attest/k8s/api-server.ts'),
    import('./attest/k8s/k8s-attestor.ts'),
    import('./attest/k8s/kubelet.ts'),
  ]);
  const { clock } = options;
  // The kubelet knows no labels of namespaces.
  const namespaces = k8s.enableNamespaceLabels
    ? new ApiServer(process.env, { serviceAccount: SERVICE_ACCOUNT, clock })
    : undefined;
  return new K8sAttestor(new Kubelet(k8s, process.env, clock), { ...k8s, ...options, namespaces });
}
