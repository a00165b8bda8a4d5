import { afterEach, describe, expect, it } from 'vitest';
import type { Found } from '../../../../agent/attest/attestor.ts';
import type { ContainerPlace } from '../../../../agent/attest/container/container-path.ts';
import type { Context, ContextEnd } from '../../../../agent/attest/context.ts';
import { Contexts } from '../../../../agent/attest/contexts.ts';
import type { NamespaceSource } from '../../../../agent/attest/k8s/api-server.ts';
import { Refusal } from '../../../../agent/attest/k8s/endpoint.ts';
import { K8sAttestor } from '../../../../agent/attest/k8s/k8s-attestor.ts';
import type { ProcessInstance } from '../../../../agent/peer/instance.ts';
import { livingInstance } from '../../../support/instance.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { MemoryPodSource } from '../../../support/pod-source.ts';
import { containerId, running, type TestPod } from '../../../support/pods.ts';

const PAY = '0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0';
const NEXT = '1a1a1a1a-4b5a-6978-8796-a5b4c3d2e1f0';
const STATIC = '5f9bd9a3c1d8e7f60123456789abcdef';
const POLL_MS = 2000;
const pay: TestPod = { uid: PAY, containers: [running('pay')] };

const closing: K8sAttestor[] = [];

afterEach(async () => {
  for (const attestor of closing.splice(0)) await attestor.close();
});

/** Namespaces without an API server. */
class MemoryNamespaces implements NamespaceSource {
  readonly labelled: Record<string, Record<string, string>> = {};
  requests = 0;
  closed = false;
  failure: Error | undefined;

  labels(namespace: string): Promise<Record<string, string>> {
    this.requests += 1;
    return this.failure === undefined ? Promise.resolve(this.labelled[namespace] ?? {}) : Promise.reject(this.failure);
  }

  close(): void {
    this.closed = true;
  }
}

/** An attestor over a list in memory, with processes where a test says that they are. */
class World {
  readonly clock = new ManualClock();
  readonly contexts = new Contexts();
  readonly source = new MemoryPodSource();
  readonly namespaces = new MemoryNamespaces();
  attestor: K8sAttestor;
  readonly #places = new Map<ProcessInstance, ContainerPlace | undefined>();

  constructor(...pods: readonly TestPod[]) {
    this.source.list(...pods);
    this.attestor = this.#attestor(false);
  }

  /** From now on a process is what its pod is. */
  async disableContainerSelectors(): Promise<void> {
    await this.attestor.close();
    this.attestor = this.#attestor(true);
  }

  process(podUid: string | undefined, container: string, cgroup = `/kubepods/pod${podUid}/${containerId(container)}`) {
    const instance = livingInstance();
    this.#places.set(instance, { engine: 'unknown', id: containerId(container), podUid, owner: undefined, cgroup });
    return instance;
  }

  attest(instance: ProcessInstance, signal = new AbortController().signal) {
    return this.attestor.attest(instance, signal);
  }

  /** As a lease of a process in `container` does. */
  async enter(podUid: string, container: string): Promise<readonly ContextEnd[]> {
    const { context } = await this.attest(this.process(podUid, container));
    return this.enterContext(context);
  }

  enterContext(context: Context): readonly ContextEnd[] {
    const ends: ContextEnd[] = [];
    this.contexts.enter(context, (end) => ends.push(end));
    return ends;
  }

  #attestor(disableContainerSelectors: boolean): K8sAttestor {
    const made = new K8sAttestor(this.source, {
      contexts: this.contexts,
      clock: this.clock,
      pollInterval: POLL_MS,
      disableContainerSelectors,
      skipKubeletVerification: false,
      namespaces: this.namespaces,
      placeOf: (instance) => this.#places.get(instance),
    });
    closing.push(made);
    return made;
  }
}

describe('a process in a pod', () => {
  it('is what the kubelet says of its pod and container, as SPIRE spells it', async () => {
    const world = new World({
      uid: PAY,
      name: 'pay-7d9f-x2x4z',
      labels: { app: 'pay', 'example.org/tier': '', prototype: 'yes' },
      owner: { kind: 'ReplicaSet', name: 'pay-7d9f', uid: '9c1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0' },
      containers: [running('pay'), running('proxy'), { name: 'late' }],
      init: [{ ...running('prepare'), state: 'terminated' }],
    });
    const { context, selectors } = await world.attest(world.process(PAY, 'pay'));
    expect(context).toEqual({
      container: { engine: 'containerd', id: containerId('pay') },
      pod: { uid: PAY, namespace: 'shop', name: 'pay-7d9f-x2x4z' },
    });
    const digest = (name: string) =>
      `registry.example.org/${name}@sha256:${containerId(`registry.example.org/${name}:1.0`)}`;
    expect(selectors.toSorted()).toEqual(
      [
        'k8s:ns:shop',
        'k8s:sa:payments',
        'k8s:node-name:node-1',
        `k8s:pod-uid:${PAY}`,
        'k8s:pod-name:pay-7d9f-x2x4z',
        'k8s:pod-label:app:pay',
        'k8s:pod-label:example.org/tier:',
        'k8s:pod-label:prototype:yes',
        'k8s:pod-owner:ReplicaSet:pay-7d9f',
        'k8s:pod-owner-uid:ReplicaSet:9c1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0',
        'k8s:pod-image-count:3',
        'k8s:pod-image:registry.example.org/pay:1.0',
        `k8s:pod-image:${digest('pay')}`,
        'k8s:pod-image:registry.example.org/proxy:1.0',
        `k8s:pod-image:${digest('proxy')}`,
        'k8s:pod-init-image-count:1',
        'k8s:pod-init-image:registry.example.org/prepare:1.0',
        `k8s:pod-init-image:${digest('prepare')}`,
        'k8s:container-name:pay',
        'k8s:container-image:registry.example.org/pay:1.0',
        `k8s:container-image:${digest('pay')}`,
      ].toSorted(),
    );
  });

  it('may be in an init, a sidecar or an ephemeral container, and under any engine', async () => {
    const world = new World({
      uid: PAY,
      init: [{ ...running('sidecar'), id: `cri-o://${containerId('sidecar')}` }],
      containers: [{ ...running('pay'), id: `docker://${containerId('pay')}` }],
      ephemeral: [running('debugger')],
    });
    for (const [name, engine] of [
      ['sidecar', 'cri-o'],
      ['pay', 'docker'],
      ['debugger', 'containerd'],
    ] as const) {
      const { context, selectors } = await world.attest(world.process(PAY, name));
      expect(context.container).toEqual({ engine, id: containerId(name) });
      expect(selectors).toContain(`k8s:container-name:${name}`);
      expect(selectors).toContain('k8s:pod-image-count:1');
    }
    expect(world.source.requests).toBe(1);
  });

  it('may be in an init container before any other of its pod is there, and is in none of theirs', async () => {
    const waiting = { name: 'pay', image: 'registry.example.org/pay:1.0' };
    const world = new World({ uid: PAY, init: [running('prepare')], containers: [waiting] });
    const { selectors } = await world.attest(world.process(PAY, 'prepare'));
    expect(selectors).toContain('k8s:container-name:prepare');
    expect(selectors).toContain('k8s:pod-image:registry.example.org/pay:1.0');
    expect(selectors).not.toContain('k8s:container-name:pay');
    const ends = await world.enter(PAY, 'prepare');
    world.source.list({
      uid: PAY,
      init: [{ ...running('prepare'), state: 'terminated' }],
      containers: [running('pay')],
    });
    await world.clock.elapse(POLL_MS);
    expect(ends).toEqual(['container-ended']);
  });

  it('may be in a static pod, which is named by the hash of its file', async () => {
    const world = new World({ uid: STATIC, source: 'file', serviceAccount: '', containers: [running('etcd')] });
    const { context, selectors } = await world.attest(world.process(STATIC, 'etcd'));
    expect(context.pod?.uid).toBe(STATIC);
    expect(selectors).toContain(`k8s:pod-uid:${STATIC}`);
    expect(selectors.filter((each) => each.startsWith('k8s:sa:'))).toEqual([]);
  });

  it('that is none costs no question', async () => {
    const world = new World(pay);
    const nowhere = livingInstance();
    const docker = world.process(undefined, 'other', `/docker/${containerId('other')}`);
    expect(await world.attest(nowhere)).toEqual({ selectors: [], context: {} });
    expect(await world.attest(docker)).toEqual({ selectors: [], context: {} });
    expect(world.source.requests).toBe(0);
  });

  it('beside the agent in its own pod is looked for without a uid, and is none when it is not there', async () => {
    const world = new World(pay);
    const beside = world.process(undefined, 'pay', `/../${containerId('pay')}`);
    expect((await world.attest(beside)).context.pod?.uid).toBe(PAY);
    const other = world.attest(world.process(undefined, 'other', `/../${containerId('other')}`));
    await world.clock.elapse(200);
    expect(await other).toEqual({ selectors: [], context: {} });
    expect(world.source.requests).toBe(2);
  });
});

describe('the list of pods', () => {
  it('is asked for once for all who come, and not at all once it is there', async () => {
    const world = new World(pay);
    const release = world.source.hold();
    const first = Array.from({ length: 50 }, () => world.attest(world.process(PAY, 'pay')));
    release();
    await Promise.all(first);
    await Promise.all(Array.from({ length: 50 }, () => world.attest(world.process(PAY, 'pay'))));
    expect(world.source.requests).toBe(1);
  });

  it('is waited for by who is not on it yet, and by nobody else', async () => {
    const world = new World(pay, { uid: NEXT, name: 'next', containers: [{ name: 'next' }] });
    await world.attest(world.process(PAY, 'pay'));
    let served = false;
    const late = world.attest(world.process(NEXT, 'next')).then((found) => {
      served = true;
      return found;
    });
    await world.clock.elapse(900);
    expect(served).toBe(false);
    expect(await world.attest(world.process(PAY, 'pay'))).toMatchObject({ context: { pod: { uid: PAY } } });
    world.source.list(pay, { uid: NEXT, name: 'next', containers: [running('next')] });
    await world.clock.elapse(200);
    expect((await late).context.pod?.uid).toBe(NEXT);
    // Not more often than five times a second.
    expect(world.source.requests).toBeLessThanOrEqual(7);
  });

  it('is not waited for without end', async () => {
    const world = new World(pay);
    const failed = expect(world.attest(world.process(NEXT, 'next'))).rejects.toThrow(
      `the kubelet has not listed container ${containerId('next')} in a pod for 4000 ms`,
    );
    await world.clock.elapse(4000);
    await failed;
  });

  it('of before serves those who are on it while the kubelet is away, and nobody else', async () => {
    const world = new World(pay);
    await world.attest(world.process(PAY, 'pay'));
    world.source.fail('the kubelet at node-1:10250 does not listen');
    await world.clock.elapse(60_000);
    expect((await world.attest(world.process(PAY, 'pay'))).context.pod?.uid).toBe(PAY);
    const refused = expect(world.attest(world.process(NEXT, 'next'))).rejects.toThrow('does not listen');
    await world.clock.elapse(4000);
    await refused;
    expect(world.attestor.shortcomings()).toEqual([expect.stringContaining('node-1:10250 does not listen') as string]);
  });

  it('that is old is made new before it is believed', async () => {
    const world = new World({ ...pay, labels: { tier: 'one' } });
    await world.attest(world.process(PAY, 'pay'));
    world.source.list({ ...pay, labels: { tier: 'two' } });
    await world.clock.elapse(3 * POLL_MS);
    expect((await world.attest(world.process(PAY, 'pay'))).selectors).toContain('k8s:pod-label:tier:two');
    expect(world.source.requests).toBe(2);
  });

  it('is asked for again and again only while somebody in a pod holds an identity', async () => {
    const world = new World(pay);
    const { context } = await world.attest(world.process(PAY, 'pay'));
    await world.clock.elapse(10 * POLL_MS);
    expect(world.source.requests).toBe(1);
    const leave = world.contexts.enter(context, () => undefined);
    await world.clock.elapse(10 * POLL_MS);
    expect(world.source.requests).toBe(11);
    leave();
    await world.clock.elapse(10 * POLL_MS);
    expect(world.source.requests).toBe(11);
    expect(world.clock.alarms).toBe(0);
  });

  it('is asked for again also when somebody comes just as the last one has gone', async () => {
    // In whichever of the steps in which a turn of the watch ends.
    for (let steps = 0; steps < 12; steps += 1) {
      const world = new World(pay);
      const { context } = await world.attest(world.process(PAY, 'pay'));
      world.contexts.enter(context, () => undefined)();
      world.clock.after(POLL_MS, () => {
        let later = Promise.resolve();
        for (let step = 0; step < steps; step += 1) later = later.then(() => undefined);
        void later.then(() => world.contexts.enter(context, () => undefined));
      });
      world.clock.advance(POLL_MS);
      await world.clock.elapse(3 * POLL_MS);
      expect(world.source.requests, `${steps} steps`).toBeGreaterThan(1);
    }
  });

  it('is asked for ever less often while the kubelet does not answer', async () => {
    const world = new World(pay);
    await world.enter(PAY, 'pay');
    world.source.fail('no');
    await world.clock.elapse(600_000);
    // 2, 4, 8, 16, then every 30 seconds.
    expect(world.source.requests).toBeLessThan(26);
    expect(world.source.requests).toBeGreaterThan(20);
  });

  it('has all but a pod whose manifest is filled up, which harms nobody else', async () => {
    const world = new World(pay, { uid: NEXT, name: 'next', containers: [running('next')], variables: 60_000 });
    expect((await world.attest(world.process(PAY, 'pay'))).context.pod?.uid).toBe(PAY);
    const refused = expect(world.attest(world.process(NEXT, 'next'))).rejects.toThrow('has not listed container');
    await world.clock.elapse(4000);
    await refused;
    expect(world.attestor.shortcomings()).toEqual([
      expect.stringMatching(/^A pod with more than 4194304 bytes in the kubelet's list was passed over/) as string,
    ]);
  });

  it('is the attestor’s to close', async () => {
    const world = new World(pay);
    await world.enter(PAY, 'pay');
    await world.attestor.close();
    expect([world.source.closed, world.namespaces.closed]).toEqual([true, true]);
    expect(world.clock.alarms).toBe(0);
  });
});

describe('a process that is what its pod is', () => {
  const unlisted: TestPod = { uid: PAY, containers: [{ name: 'pay' }] };
  const context = { pod: { uid: PAY, namespace: 'shop', name: 'pay' } };

  it('does not wait for its container, as while a hook of it runs, and is the same when that is listed', async () => {
    const world = new World(unlisted);
    await world.disableContainerSelectors();
    const process = world.process(PAY, 'pay');
    const before = await world.attest(process);
    expect(before.context).toEqual(context);
    expect(before.selectors).toContain('k8s:sa:payments');
    const ends = world.enterContext(before.context);
    world.source.list(pay);
    await world.clock.elapse(POLL_MS);
    const after = await world.attest(process);
    expect(after.context).toEqual(context);
    expect(after.selectors.filter((each) => each.startsWith('k8s:container-'))).toEqual([]);
    expect(ends).toEqual([]);
    world.source.list();
    await world.clock.elapse(POLL_MS);
    // An empty list may be that of a kubelet which has forgotten; this one has listed the pod.
    expect(ends).toEqual(['pod-ended']);
  });

  it('is refused all the same in a container of another pod, in one that has ended, and in a pod that is not listed', async () => {
    const world = new World(unlisted, {
      uid: NEXT,
      name: 'next',
      containers: [running('next'), { ...running('done'), state: 'terminated' }],
    });
    await world.disableContainerSelectors();
    await expect(world.attest(world.process(PAY, 'next'))).rejects.toThrow(`by its cgroup it is in pod ${PAY}, but`);
    await expect(world.attest(world.process(NEXT, 'done'))).rejects.toThrow('has ended');
    const failed = expect(world.attest(world.process(STATIC, 'etcd'))).rejects.toThrow(
      `the kubelet has not listed pod ${STATIC} for 4000 ms`,
    );
    await world.clock.elapse(4000);
    await failed;
  });

  it('is refused in a pod in whose place there is another one', async () => {
    const world = new World(unlisted);
    await world.disableContainerSelectors();
    const ends = world.enterContext((await world.attest(world.process(PAY, 'pay'))).context);
    world.source.list(unlisted, { uid: NEXT, containers: [{ name: 'pay' }], created: '2026-11-24T13:00:00Z' });
    await world.clock.elapse(POLL_MS);
    expect(ends).toEqual(['pod-replaced']);
    await expect(world.attest(world.process(PAY, 'pay'))).rejects.toThrow('there is another one');
    expect((await world.attest(world.process(NEXT, 'again'))).context.pod?.uid).toBe(NEXT);
  });
});

describe('the labels of a namespace', () => {
  const ofNamespace = (found: Found) => found.selectors.filter((each) => each.startsWith('k8s:ns-label:'));

  it('are asked for once for all who come, and again after a while', async () => {
    const world = new World(pay);
    world.namespaces.labelled['shop'] = { team: 'pay', 'example.org/tier': '' };
    const found = await Promise.all(Array.from({ length: 20 }, () => world.attest(world.process(PAY, 'pay'))));
    for (const each of found)
      expect(ofNamespace(each)).toEqual(['k8s:ns-label:team:pay', 'k8s:ns-label:example.org/tier:']);
    expect(world.namespaces.requests).toBe(1);
    world.namespaces.labelled['shop'] = {};
    await world.clock.elapse(10_000);
    expect(ofNamespace(await world.attest(world.process(PAY, 'pay')))).toEqual([]);
    expect(world.namespaces.requests).toBe(2);
  });

  it('are what they were while there is no API server, and not to be had of a namespace that was not asked for before', async () => {
    const other: TestPod = { uid: NEXT, namespace: 'new', containers: [running('next')] };
    const world = new World(pay, other);
    world.namespaces.labelled['shop'] = { team: 'pay' };
    await world.attest(world.process(PAY, 'pay'));
    world.namespaces.failure = new Error('the API server at 10.0.0.1:443 does not listen');
    await world.clock.elapse(60_000);
    expect(ofNamespace(await world.attest(world.process(PAY, 'pay')))).toEqual(['k8s:ns-label:team:pay']);
    await expect(world.attest(world.process(NEXT, 'next'))).rejects.toThrow('does not listen');
    expect(world.attestor.shortcomings()).toEqual([expect.stringContaining('10.0.0.1:443 does not listen') as string]);
  });

  it('are not believed any more once the API server refuses to tell them', async () => {
    const world = new World(pay);
    world.namespaces.labelled['shop'] = { team: 'pay' };
    await world.attest(world.process(PAY, 'pay'));
    await world.clock.elapse(10_000);
    world.namespaces.failure = new Refusal('knows no such namespace (404)');
    await expect(world.attest(world.process(PAY, 'pay'))).rejects.toThrow('knows no such namespace');
    world.namespaces.failure = new Error('does not listen');
    await expect(world.attest(world.process(PAY, 'pay'))).rejects.toThrow('does not listen');
  });
});

describe('what a cgroup says', () => {
  it('is not believed against the kubelet, which has the container in another pod', async () => {
    const world = new World(pay, { uid: NEXT, name: 'next', containers: [running('next')] });
    await expect(world.attest(world.process(NEXT, 'pay'))).rejects.toThrow(
      `by its cgroup it is in pod ${NEXT}, but container ${containerId('pay')} is in pod ${PAY} (shop/pay)`,
    );
  });

  it('stands whatever the status of another pod lists', async () => {
    const foreign = { uid: NEXT, name: 'next', containers: [running('next')] };
    const world = new World(pay, foreign);
    const [ends, others] = [await world.enter(PAY, 'pay'), await world.enter(NEXT, 'next')];
    for (const state of ['running', 'terminated'] as const) {
      const claimed = { ...foreign, containers: [running('next'), { ...running('pay'), state }] };
      // Whichever comes first.
      for (const pods of [
        [claimed, pay],
        [pay, claimed],
      ]) {
        world.source.list(...pods);
        await world.clock.elapse(POLL_MS);
        expect((await world.attest(world.process(PAY, 'pay'))).context.pod?.uid).toBe(PAY);
      }
    }
    world.source.list(foreign, pay);
    await world.clock.elapse(POLL_MS);
    expect([ends, others]).toEqual([[], []]);
  });

  it('is not believed of a container that is listed twice where it should be once', async () => {
    const world = new World({ uid: PAY, containers: [running('pay'), running('pay')] });
    await expect(world.attest(world.process(PAY, 'pay'))).rejects.toThrow('is listed more than once');
    const two = new World(pay, { uid: NEXT, name: 'next', containers: [running('pay')] });
    const beside = two.process(undefined, 'pay', `/../${containerId('pay')}`);
    await expect(two.attest(beside)).rejects.toThrow('is listed more than once');
  });

  it('is not believed of a container that has ended', async () => {
    const world = new World({ uid: PAY, containers: [{ ...running('pay'), state: 'terminated' }] });
    await expect(world.attest(world.process(PAY, 'pay'))).rejects.toThrow('of pod shop/pay has ended');
  });
});

describe('an identity', () => {
  it('lasts while its pod is being deleted, and ends when the pod is gone from the list', async () => {
    const world = new World(pay, { uid: NEXT, name: 'next', containers: [running('next')] });
    const [ends, others] = [await world.enter(PAY, 'pay'), await world.enter(NEXT, 'next')];
    const next: TestPod = { uid: NEXT, name: 'next', containers: [running('next')] };
    world.source.list({ ...pay, deleted: '2026-11-24T13:00:00Z' }, next);
    await world.clock.elapse(POLL_MS);
    expect((await world.attest(world.process(PAY, 'pay'))).context.pod?.uid).toBe(PAY);
    expect(ends).toEqual([]);
    world.source.list(next);
    await world.clock.elapse(POLL_MS);
    expect([ends, others]).toEqual([['pod-ended'], []]);
  });

  it('that is given when its pod has just gone ends at once, also of a static pod, whose absence alone says nothing', async () => {
    const world = new World(pay, { uid: STATIC, name: 'proxy', source: 'file', containers: [running('proxy')] });
    await world.enter(PAY, 'pay');
    const { context } = await world.attest(world.process(STATIC, 'proxy'));
    world.source.list(pay);
    await world.clock.elapse(POLL_MS);
    expect(world.enterContext(context)).toEqual(['pod-ended']);
    expect(world.contexts.count('pod')).toBe(1);
  });

  it('ends with its container, and lasts in the others of the pod', async () => {
    const both = { uid: PAY, containers: [running('pay'), running('proxy')] };
    const world = new World(both);
    const [ends, others] = [await world.enter(PAY, 'pay'), await world.enter(PAY, 'proxy')];
    world.source.list({ uid: PAY, containers: [{ ...running('pay'), state: 'terminated' }, running('proxy')] });
    await world.clock.elapse(POLL_MS);
    expect([ends, others]).toEqual([['container-ended'], []]);
  });

  it('ends when its container has been started anew, or waits to be', async () => {
    const id = `containerd://${containerId('pay')}`;
    for (const now of [
      { ...running('pay', containerId('pay again')), last: id },
      { ...running('pay'), state: 'waiting', last: id } as const,
    ]) {
      const world = new World(pay);
      const ends = await world.enter(PAY, 'pay');
      world.source.list({ uid: PAY, containers: [now] });
      await world.clock.elapse(POLL_MS);
      expect(ends).toEqual(['container-ended']);
    }
  });

  it('ends at once when another pod has come in the place of its own, which then has no more', async () => {
    const world = new World(pay);
    const ends = await world.enter(PAY, 'pay');
    // Deleted by force: the old one's processes are still being ended.
    world.source.list({ uid: NEXT, containers: [running('pay again')], created: '2026-11-24T13:00:00Z' });
    await world.clock.elapse(POLL_MS);
    expect(ends).toEqual(['pod-replaced']);
    const { context } = await world.attest(world.process(NEXT, 'pay again'));
    expect(context.pod?.uid).toBe(NEXT);
    expect(world.enterContext(context)).toEqual([]);
  });

  it('ends when the new pod is listed beside the old one, which nobody gets an identity of again', async () => {
    const world = new World(pay);
    const ends = await world.enter(PAY, 'pay');
    world.source.list(pay, { uid: NEXT, containers: [running('pay again')], created: '2026-11-24T13:00:00Z' });
    await world.clock.elapse(POLL_MS);
    expect(ends).toEqual(['pod-replaced']);
    await expect(world.attest(world.process(PAY, 'pay'))).rejects.toThrow('there is another one');
  });

  it('lasts while the kubelet cannot be asked, and ends by its first word after', async () => {
    const world = new World(pay);
    const ends = await world.enter(PAY, 'pay');
    world.source.fail('the kubelet does not listen');
    await world.clock.elapse(300_000);
    expect(ends).toEqual([]);
    world.source.list();
    await world.clock.elapse(30_000);
    expect(ends).toEqual(['pod-ended']);
  });

  it('lasts while a kubelet that has been started anew does not know its pods yet, and ends with them once it does', async () => {
    const other: TestPod = { uid: NEXT, name: 'next', containers: [running('next')] };
    const etcd: TestPod = { uid: STATIC, name: 'etcd', source: 'file', containers: [running('etcd')] };
    const world = new World(pay, other, etcd);
    const [gone, kept] = [await world.enter(PAY, 'pay'), await world.enter(NEXT, 'next')];
    world.source.restart();
    world.source.list();
    await world.clock.elapse(60_000);
    world.source.list(etcd);
    await world.clock.elapse(60_000);
    expect([gone, kept]).toEqual([[], []]);
    // Nor is anybody refused: what runs has not changed.
    expect((await world.attest(world.process(PAY, 'pay'))).context.pod?.uid).toBe(PAY);
    world.source.list(etcd, other);
    await world.clock.elapse(2 * POLL_MS);
    expect([gone, kept]).toEqual([[], []]);
    await world.clock.elapse(2 * POLL_MS);
    expect([gone, kept]).toEqual([['pod-ended'], []]);
  });

  it('of before the agent’s start ends with a pod that is gone meanwhile', async () => {
    const other: TestPod = { uid: NEXT, name: 'next', containers: [running('next')] };
    const world = new World(other);
    const ends = world.enterContext({
      container: { engine: 'containerd', id: containerId('pay') },
      pod: { uid: PAY, namespace: 'shop', name: 'pay' },
    });
    await world.clock.elapse(POLL_MS);
    expect(ends).toEqual([]);
    await world.clock.elapse(3 * POLL_MS);
    expect(ends).toEqual(['pod-ended']);
  });

  it('of a container that is in no pod is none of the kubelet’s business', async () => {
    const world = new World(pay);
    await world.enter(PAY, 'pay');
    const ends = world.enterContext({ container: { engine: 'docker', id: containerId('other'), started: 'now' } });
    await world.clock.elapse(10 * POLL_MS);
    expect(ends).toEqual([]);
  });
});
