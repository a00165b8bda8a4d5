import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { containerOf } from '../../agent/attest/container/container-of.ts';
import { Contexts } from '../../agent/attest/contexts.ts';
import { K8sAttestor } from '../../agent/attest/k8s/k8s-attestor.ts';
import { Kubelet } from '../../agent/attest/k8s/kubelet.ts';
import type { KubeletOptions } from '../../agent/attest/k8s/kubelet-options.ts';
import { PodList } from '../../agent/attest/k8s/pod-list.ts';
import { AttestationRunner } from '../../agent/attest/runner.ts';
import { SystemClock } from '../../agent/kernel/clock.ts';
import { ExitWatch } from '../../agent/peer/exit-watch.ts';
import type { ProcessInstance } from '../../agent/peer/instance.ts';
import { Instances } from '../../agent/peer/process.ts';
import { openPidfd } from '../../agent/peer/system/pidfd.ts';
import { PodCgroups, UNIFIED } from '../support/pod-cgroups.ts';
import { containerId, podJson, podListJson, running, type TestPod } from '../support/pods.ts';

const PODS = 250;
const PROCESSES = 2000;
const CONTAINERS = ['server', 'proxy'];
// Some ten kilobytes a container: as a manifest with a mesh's proxy has.
const VARIABLES = 200;
const LISTS = 20;
const REST_MS = 500;
const ROUNDS = 5;

/** What it costs to know the pods of a full node, and to say of its processes which they are in. */
export interface PodFigures {
  readonly pods: number;
  readonly processes: number;
  /** Megabytes of the kubelet's answer, and of the heap that what is kept of it takes. */
  readonly answer: number;
  readonly kept: number;
  /** By how many megabytes the process has grown while it read answer after answer. */
  readonly grown: number;
  /** Milliseconds of the thread to read the list, and to read it again while hardly any pod has changed. */
  readonly read: number;
  readonly again: number;
  /** Milliseconds until all processes are attested that come at once, before there is a list. */
  readonly together: number;
  /** Milliseconds of an attestation, by a list that is there. */
  readonly p50: number;
  readonly p99: number;
  /** Attestations a second, one after the other. */
  readonly perSecond: number;
}

/** Pods as a cluster has them, with a mesh's proxy each. */
export function benchPods(count: number = PODS): readonly TestPod[] {
  return Array.from({ length: count }, (_, index) => ({
    uid: uidOf(index),
    namespace: `team-${index % 10}`,
    name: `service-${index}-7d9f8b6c5d-x2x4z`,
    serviceAccount: `service-${index}`,
    labels: { 'app.kubernetes.io/name': `service-${index}`, 'pod-template-hash': '7d9f8b6c5d', tier: 'backend' },
    owner: { kind: 'ReplicaSet', name: `service-${index}-7d9f8b6c5d`, uid: uidOf(index + count) },
    containers: CONTAINERS.map((name) => running(name, idOf(index, name))),
    init: [{ ...running('init', idOf(index, 'init')), state: 'terminated' as const }],
    variables: VARIABLES,
  }));
}

/** The cost of {@link PODS} pods with {@link PROCESSES} real processes in real cgroups; `undefined` where nobody can make those. */
export async function podFigures(): Promise<PodFigures | undefined> {
  if (UNIFIED === undefined) return undefined;
  const answer = Buffer.byteLength(podListJson(benchPods().map(podJson))) / 1e6;
  const script = new URL('kubelet-process.ts', import.meta.url).pathname;
  const kubelet = spawn(process.execPath, [script, String(PODS)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface(kubelet.stdout), 'line')) as [string];
  const options = JSON.parse(line) as KubeletOptions;
  try {
    return {
      pods: PODS,
      processes: PROCESSES,
      answer,
      ...(await listFigures(options)),
      ...(await attestFigures(options)),
    };
  } finally {
    kubelet.stdin.end();
    await once(kubelet, 'exit');
  }
}

async function listFigures(options: KubeletOptions): Promise<Pick<PodFigures, 'again' | 'grown' | 'kept' | 'read'>> {
  const resident = residentMegabytes();
  const read = await readTimes(1, options);
  const again = await readTimes(LISTS, options);
  // What a promise or a socket still holds of it is let go of.
  await setTimeout(REST_MS);
  const without = heapMegabytes();
  return {
    read: median(read.costs),
    again: median(again.costs.slice(1)),
    kept: again.heap - without,
    grown: again.resident - resident,
  };
}

/** What it costs to read the list that often, and the megabytes of the process while it is held. */
async function readTimes(times: number, options: KubeletOptions) {
  const clock = new SystemClock();
  const events = { answered: () => undefined, failed: fail, passedOver: () => fail('a pod is too large') };
  const list = new PodList(new Kubelet(options, {}, clock), clock, events);
  const costs: number[] = [];
  let resident = 0;
  for (let round = 0; round < times; round += 1) {
    await list.next();
    costs.push(list.costMs);
    resident = Math.max(resident, residentMegabytes());
  }
  const heap = heapMegabytes();
  await list.close();
  return { costs, heap, resident };
}

type AttestFigures = Pick<PodFigures, 'p50' | 'p99' | 'perSecond' | 'together'>;

async function attestFigures(options: KubeletOptions): Promise<AttestFigures> {
  const clock = new SystemClock();
  const contexts = new Contexts();
  const kubelet = new Kubelet(options, {}, clock);
  const more = {
    contexts,
    clock,
    pollInterval: 2000,
    skipKubeletVerification: false,
    disableContainerSelectors: false,
    placeOf: containerOf,
  };
  // What was found is not believed twice: each attestation is a whole one.
  const runner = new AttestationRunner([new K8sAttestor(kubelet, more)], { clock, ttl: 0 });
  const watch = new ExitWatch();
  const instances = new Instances(watch, clock);
  const cgroups = new PodCgroups(UNIFIED ?? '');
  const shell = spawn(
    'sh',
    ['-c', `i=0; while [ $i -lt ${PROCESSES} ]; do sleep 600 & i=$((i+1)); done; echo ready; wait`],
    {
      stdio: ['ignore', 'pipe', 'ignore'],
      // A group of its own, to be ended as one.
      detached: true,
    },
  );
  try {
    await once(shell.stdout, 'data');
    const processes = childrenOf(shell.pid ?? 0).map((pid, index) => {
      const pod = index % PODS;
      const name = CONTAINERS[Math.floor(index / PODS) % CONTAINERS.length] ?? '';
      cgroups.enter(pid, uidOf(pod), idOf(pod, name));
      return heldBy(instances, pid);
    });
    // In use, so that the list is kept new by polls all the while, as under load.
    const came = performance.now();
    const first = await Promise.all(processes.map((each) => runner.attest(each)));
    const together = performance.now() - came;
    for (const { context } of first) contexts.enter(context, () => fail('a context has ended'));
    const times: number[] = [];
    const began = performance.now();
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const each of processes) {
        const start = performance.now();
        const { selectors } = await runner.attest(each);
        times.push(performance.now() - start);
        if (selectors.size < 20) fail('a process is in no pod');
      }
    }
    const seconds = (performance.now() - began) / 1000;
    const sorted = times.toSorted((a, b) => a - b);
    return { together, p50: at(sorted, 0.5), p99: at(sorted, 0.99), perSecond: times.length / seconds };
  } finally {
    const ended = once(shell, 'close');
    process.kill(-(shell.pid ?? 0), 'SIGKILL');
    await ended;
    instances.close();
    await watch.close();
    await runner.close();
    await cgroups[Symbol.asyncDispose]();
  }
}

function heldBy(instances: Instances, pid: number): ProcessInstance {
  const [uid, gid] = [process.geteuid?.() ?? 0, process.getegid?.() ?? 0];
  const made = instances.attribute({ pid, uid, gid, pidfd: openPidfd(pid), proof: 'pidfd' });
  if (made.kind !== 'identified') return fail(`process ${pid} is over`);
  return made.instance;
}

function childrenOf(pid: number): readonly number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number).slice(0, PROCESSES);
}

function uidOf(index: number): string {
  return `${String(index).padStart(8, '0')}-4b5a-6978-8796-a5b4c3d2e1f0`;
}

function idOf(pod: number, container: string): string {
  return containerId(`${pod} ${container}`);
}

function heapMegabytes(): number {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  if (typeof collect === 'function') for (let round = 0; round < 3; round += 1) collect();
  const { external, heapUsed } = process.memoryUsage();
  return (heapUsed + external) / 1e6;
}

function residentMegabytes(): number {
  return process.memoryUsage.rss() / 1e6;
}

function median(values: readonly number[]): number {
  return at(
    values.toSorted((a, b) => a - b),
    0.5,
  );
}

function at(sorted: readonly number[], share: number): number {
  return sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
}

function fail(message: string): never {
  throw new Error(message);
}
