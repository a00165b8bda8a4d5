import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { MAIN } from '../../support/daemon.ts';
import { eventually } from '../../support/json-lines.ts';
import { besidesSlowness } from '../../support/warnings.ts';
import { commandOf, equipped, ROOT } from '../equipment.ts';
import { AGENT_IMAGE } from './agent-image.ts';
import { ALL, DASHBOARD } from './changed-values.ts';
import { Cluster, NODE } from './cluster.ts';
import { withCsi } from './csi.ts';
import { MANIFESTS, render } from './helm.ts';
import { parseManifests } from './manifests.ts';
import type { PodName } from './pod-log.ts';
import { type AgentPod, RELEASE, Release } from './release.ts';
import { NODE_LOGS, NODE_PROGRAMS } from './toolchain.ts';
import { BANK, type Place, prepareNamespace, RelyingParty, SHOP, Workload } from './workload.ts';

const { node, helm, agent } = inject('kubernetes');
const NEXT = 'next';
const idOf = (serviceAccount: string, { namespace } = SHOP) =>
  `spiffe://example.org/ns/${namespace}/sa/${serviceAccount}`;

equipped('the agent on a node of Kubernetes', [ROOT, node, helm, agent], () => {
  let cluster: Cluster;
  let release: Release;
  let observer: RelyingParty;

  beforeAll(async () => {
    const { workloadImage, csiImages, agentImage } = NODE_PROGRAMS;
    cluster = await Cluster.start(NODE_PROGRAMS, NODE_LOGS, [workloadImage, ...csiImages, agentImage]);
    await cluster.ctr('images', 'tag', AGENT_IMAGE, AGENT_IMAGE.replace(/[^:]+$/, NEXT));
    [release] = await Promise.all([
      Release.install(cluster, commandOf(helm)[0], withCsi(cluster.kubeletDirectory)),
      prepareNamespace(cluster, SHOP, ['pay', 'ship', 'audit']),
      prepareNamespace(cluster, BANK, ['pay'], 'restricted'),
    ]);
    observer = await RelyingParty.start(cluster, 'observer', 'audit');
  });

  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  const remove = (pod: string, { namespace }: Place = SHOP) =>
    cluster.kubectl.run('delete', 'pod', pod, `--namespace=${namespace}`);
  const leases = async () => (await release.mayfly<{ readonly leases: readonly Lease[] }>('leases')).leases;

  it('may ask for the pods of nodes and nothing else', async () => {
    const mayAgent = (verb: string, resource: string, ...args: readonly string[]) => {
      const asked = ['auth', 'can-i', verb, resource, ...args, `--as=system:serviceaccount:${RELEASE}:${RELEASE}`];
      return cluster.kubectl.run(...asked).catch((error: unknown) => {
        // It ends with 1 then.
        if (error instanceof Error && 'stdout' in error && error.stdout === 'no\n') return 'no\n';
        throw error;
      });
    };
    expect(await mayAgent('get', 'nodes', '--subresource=pods')).toBe('yes\n');
    for (const verb of ['get', 'create']) expect(await mayAgent(verb, 'nodes', '--subresource=proxy')).toBe('no\n');
    for (const resource of ['nodes', 'pods', 'secrets', 'configmaps']) {
      expect([resource, await mayAgent('get', resource)]).toEqual([resource, 'no\n']);
    }
  });

  it('gives two deployments the identities of their service accounts, and a process in no pod none', async () => {
    const [pay, ship] = await Promise.all([
      Workload.deploy(cluster, 'pay', 'pay'),
      Workload.deploy(cluster, 'ship', 'ship'),
    ]);
    expect((await pay.holds()).id).toBe(idOf('pay'));
    expect((await ship.holds()).id).toBe(idOf('ship'));
    expect([...pay.errors, ...ship.errors]).toEqual([]);
    const fetch = ['fetch', 'x509', '--socket', '/run/mayfly/api.sock'];
    await expect(cluster.machine.run([process.execPath, MAIN, ...fetch])).rejects.toThrow('no identity issued');
    const pods = (await leases()).map(({ pod }) => pod.uid);
    expect(pods.toSorted()).toEqual([pay.pod.uid, ship.pod.uid, observer.pod.uid].toSorted());
  });

  it('serves a pod that calls before its container is listed', async () => {
    // How long the kubelet takes differs: often a second, and sometimes nothing.
    for (let attempt = 1; ; attempt += 1) {
      const pod = await Workload.start(cluster, `early-${attempt}`, 'pay');
      const listing = new AbortController();
      const unlistedAt = timesUnlisted(pod, listing.signal);
      const { at, since, svids } = await pod.log.first('an answer', () => true);
      listing.abort();
      expect(svids).toMatchObject([{ id: idOf('pay') }]);
      await remove(pod.pod.name);
      if ((await unlistedAt).some((time) => time > at - since)) return;
      expect(attempt).toBeLessThan(10);
    }
  });

  /** When the kubelet was asked for its pods and did not list the pod's container. */
  async function timesUnlisted({ pod }: Workload, signal: AbortSignal): Promise<number[]> {
    const times: number[] = [];
    while (!signal.aborted) {
      const asked = Date.now();
      const answer = await cluster.kubectl.run('get', '--raw', `/api/v1/nodes/${NODE}/proxy/pods`);
      const { items } = JSON.parse(answer) as KubeletPods;
      const statuses = items.find(({ metadata }) => metadata.uid === pod.uid)?.status.containerStatuses ?? [];
      if (!statuses.some(({ containerID }) => containerID !== undefined)) times.push(asked);
    }
    return times;
  }

  it('revokes the identity of a pod that is deleted', async () => {
    const pod = await Workload.start(cluster, 'brief', 'pay');
    const { serial } = await pod.holds();
    expect(observer.deems(serial)).toBe('good');
    await remove('brief');
    await observer.seesRevoked(serial);
    expect((await leases()).map((lease) => lease.pod.uid)).not.toContain(pod.pod.uid);
  });

  it('gives a pod that is made anew under its name nothing of the one before', async () => {
    const before = await Workload.start(cluster, 'again', 'pay');
    const old = await before.holds();
    await remove('again');
    const after = await Workload.start(cluster, 'again', 'ship');
    const got = await after.holds();
    expect(got.id).toBe(idOf('ship'));
    await observer.seesRevoked(old.serial);
    expect(observer.deems(got.serial)).toBe('good');
    const named = (await leases()).filter(({ pod }) => pod.name === 'again');
    expect(named).toMatchObject([{ serial: got.serial, pod: { uid: after.pod.uid } }]);
    expect(after.errors).toEqual([]);
  });

  it('lets nobody lose his identity while the kubelet is started anew', async () => {
    const steady = await Workload.start(cluster, 'steady', 'pay');
    const { serial } = await steady.holds();
    await cluster.stopKubelet();
    await eventually('the agent has noticed', async () => {
      const { attestors } = await release.status();
      return attestors.some(({ shortcomings }) => /does not listen/.test(shortcomings.join())) ? true : undefined;
    });
    await cluster.startKubelet();
    const later = await Workload.start(cluster, 'later', 'ship');
    expect((await later.holds()).id).toBe(idOf('ship'));
    expect(later.errors).toEqual([]);
    expect(steady.errors).toEqual([]);
    expect((await steady.holds(steady.log.lines.length - 1)).serial).toBe(serial);
    expect(observer.deems(serial)).toBe('good');
  });

  it('serves a namespace that is restricted by the CSI driver, and by no directory of the node', async () => {
    const byPath = Workload.start(cluster, 'by-path', 'pay', { ...SHOP, namespace: BANK.namespace });
    await expect(byPath).rejects.toThrow('volume "mayfly" uses restricted volume type "hostPath"');
    const byDriver = await Workload.start(cluster, 'by-driver', 'pay', BANK);
    expect((await byDriver.holds()).id).toBe(idOf('pay', BANK));
    expect(byDriver.errors).toEqual([]);
    const writing = ['exec', 'by-driver', `--namespace=${BANK.namespace}`, '--', 'busybox', 'touch', '/run/mayfly/new'];
    await expect(cluster.kubectl.run(...writing)).rejects.toThrow('Read-only file system');
  });

  it('takes over entries from the ConfigMap, and goes on running', async () => {
    const changing = await Workload.start(cluster, 'changing', 'pay');
    const before = await changing.holds();
    const run = runOf(await release.pod());
    const entries = [
      { id: 'named', spiffe_id: 'spiffe://example.org/named', selectors: [`k8s:pod-name:changing`, 'k8s:ns:shop'] },
    ];
    await release.upgrade({ entries });
    const both = await changing.log.first('two identities', ({ svids }) => svids?.length === 2);
    expect(both.svids?.map(({ id }) => id).toSorted()).toEqual(['spiffe://example.org/named', idOf('pay')].toSorted());
    const named = both.svids?.find(({ id }) => id !== idOf('pay'))?.serial ?? '';
    const mark = changing.log.lines.length;
    await release.upgrade({});
    const after = await changing.log.first('one identity', ({ svids }) => svids?.length === 1, mark);
    await observer.seesRevoked(named);
    expect(after.svids).toEqual([{ id: before.id, serial: before.serial }]);
    expect(changing.errors).toEqual([]);
    expect(runOf(await release.pod())).toEqual(run);
  });

  it('is replaced by its next version, and its clients by their first retries go on with that', async () => {
    const lasting = [
      await Workload.start(cluster, 'lasting', 'pay', SHOP),
      await Workload.start(cluster, 'lasting', 'pay', BANK),
    ];
    const before = await Promise.all(lasting.map((workload) => workload.holds()));
    const agentBefore = await release.pod();
    const driverBefore = runOf(await release.pod('spiffe-csi-driver'));
    await release.upgrade({ image: { tag: NEXT } });
    expect((await release.pod()).metadata.uid).not.toBe(agentBefore.metadata.uid);
    expect(runOf(await release.pod('spiffe-csi-driver'))).toEqual(driverBefore);
    const after = await Promise.all(lasting.map((workload) => workload.holds(1)));
    expect(after.map(({ id }) => id)).toEqual(before.map(({ id }) => id));
    for (const { serial } of after) expect(observer.deems(serial)).toBe('good');
    // They ask again and again, each time a second later than the time before. The first time that the agent is ready is the last.
    const ready = (await release.pod()).status.conditions.find(({ type }) => type === 'Ready');
    const readyAt = Date.parse(ready?.lastTransitionTime ?? 'never');
    expect(readyAt).toBeGreaterThan(0);
    for (const { errors, log } of lasting) {
      for (const error of errors) expect(error).toContain('code = Unavailable');
      const late = log.lines.filter(({ at, error }) => error !== undefined && at > readyAt + 1000);
      expect(late).toEqual([]);
    }
  });

  it('is found again by the volumes of the CSI driver, whichever of both is killed or made anew', async () => {
    const kept = await Workload.start(cluster, 'kept', 'pay', BANK);
    await kept.holds();
    const driver = await release.pod('spiffe-csi-driver');
    await cluster.kubectl.run('delete', 'pod', driver.metadata.name, `--namespace=${RELEASE}`);
    const [agent] = (await release.pod()).status.containerStatuses;
    await cluster.ctr('tasks', 'kill', '--signal', 'SIGKILL', agent?.containerID.replace('containerd://', '') ?? '');
    await kept.holds(1);
    await release.rolledOut();
    const next = await Workload.start(cluster, 'next', 'pay', BANK);
    expect((await next.holds()).id).toBe(idOf('pay', BANK));
    expect((await release.pod('spiffe-csi-driver')).metadata.uid).not.toBe(driver.metadata.uid);
    // Its end waits for the driver, which is not the one that has mounted it.
    await remove('kept', BANK);
    const mounts = await cluster.machine.run(['cat', '/proc/self/mounts']);
    expect(mounts).not.toContain(kept.pod.uid);
    expect(mounts).toContain(next.pod.uid);
  });

  it('is asked over HTTP how it does', async () => {
    await release.upgrade({ metrics: { enabled: true } });
    const { metadata } = await release.pod();
    const get = (path: string) =>
      cluster.kubectl.run('get', '--raw', `/api/v1/namespaces/${RELEASE}/pods/${metadata.name}:9464/proxy${path}`);
    expect(await get('/readyz')).toBe('ready\n');
    expect(await get('/metrics')).toMatch(/^mayfly_ready 1$/m);
    const { kind, spec } = await cluster.kubectl.json<Probed>('get', 'daemonset', RELEASE, `--namespace=${RELEASE}`);
    expect(kind).toBe('DaemonSet');
    expect(spec.template.spec.containers[0]?.readinessProbe).toHaveProperty('httpGet.path', '/readyz');
  });

  it('asks in the network of the node, and for labels of namespaces', async () => {
    const entry = {
      id: 'labelled',
      spiffe_id: 'spiffe://example.org/labelled',
      selectors: [`k8s:ns-label:kubernetes.io/metadata.name:${SHOP.namespace}`],
    };
    await release.upgrade({
      hostNetwork: true,
      kubelet: { address: 'loopback' },
      metrics: { enabled: true },
      namespaceLabels: true,
      serviceAccountIdentities: { enabled: false },
      entries: [entry],
    });
    const labelled = await Workload.start(cluster, 'labelled', 'pay');
    expect((await labelled.holds()).id).toBe(entry.spiffe_id);
    expect(labelled.errors).toEqual([]);
    expect(besidesSlowness((await release.status()).attestors.flatMap(({ shortcomings }) => shortcomings))).toEqual([]);
  });

  it('is what the API server takes, whatever its values', async () => {
    await release.uninstall();
    // Without what is for the Prometheus Operator, which has told the API of it and is not here.
    const all = await render(commandOf(helm)[0], { ...ALL, ...DASHBOARD });
    for (const manifests of [readFileSync(MANIFESTS, 'utf8'), all]) {
      const applied = await cluster.kubectl.apply(manifests, '--dry-run=server');
      expect(applied.trim().split('\n')).toHaveLength(parseManifests(manifests).length);
    }
  });
});

/** What changes when an agent is started again, by whatever. */
function runOf({ metadata, status }: AgentPod) {
  return { pod: metadata.uid, container: status.containerStatuses.map(({ containerID }) => containerID) };
}

interface Probed {
  readonly kind: string;
  readonly spec: {
    readonly template: { readonly spec: { readonly containers: readonly { readonly readinessProbe: object }[] } };
  };
}

interface Lease {
  readonly serial: string;
  readonly pod: PodName;
}

interface KubeletPods {
  readonly items: readonly {
    readonly metadata: PodName;
    readonly status: { readonly containerStatuses?: readonly { readonly containerID?: string }[] };
  }[];
}
