import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ExitWatch } from '../../../agent/peer/exit-watch.ts';
import type { InstanceEnd, ProcessInstance } from '../../../agent/peer/instance.ts';
import { Instances, type Watching } from '../../../agent/peer/process.ts';
import { ProcessEvents } from '../../../agent/peer/process-events.ts';
import { libc } from '../../../agent/peer/system/native.ts';
import { ProcessConnector } from '../../../agent/peer/system/process-connector.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { credentialsOf, descriptors, isRoot, Processes, until } from '../../support/processes.ts';

const UNSHARE = '/usr/bin/unshare';
const processes = new Processes();
afterAll(() => processes.clean());
const child = new URL('../../support/peer-child.ts', import.meta.url);

const connector = ProcessConnector.open();
const answers = typeof connector !== 'string';
if (answers) connector.close();

describe('process events', () => {
  const told: (number | 'lost')[] = [];
  const follower = { changed: (pid: number) => void told.push(pid), lost: () => void told.push('lost') };
  beforeEach(() => void told.splice(0));

  test('are told to all that follow, until they do not', () => {
    const events = new ProcessEvents();
    const stop = events.follow(follower);
    events.follow({ ...follower });
    events.tell([1, 2], false);
    expect(told).toEqual([1, 2, 1, 2]);
    stop();
    events.tell([3], false);
    expect(told).toEqual([1, 2, 1, 2, 3]);
  });

  test('that are lost are counted, and any process may be meant', () => {
    const events = new ProcessEvents();
    events.follow(follower);
    events.tell([1], true);
    expect(told).toEqual(['lost']);
    expect(events.losses).toBe(1);
  });

  test('are believed from when the connector answers on: what was before is to be looked for', () => {
    const events = new ProcessEvents();
    events.follow(follower);
    expect(events.reason).not.toBe('');
    events.settle('');
    expect([events.reason, told]).toEqual(['', ['lost']]);
    events.settle('it has failed');
    expect(told).toEqual(['lost']);
  });
});

describe.skipIf(!answers)(`the process connector (${answers ? 'answers here' : connector})`, () => {
  let clock: ManualClock;
  let watch: ExitWatch;
  let instances: Instances;
  beforeEach(async () => {
    clock = new ManualClock();
    watch = new ExitWatch();
    instances = new Instances(watch, clock);
    await until(() => watch.events.reason === '', 'the connector answers');
  });
  afterEach(async () => {
    instances.close();
    await watch.close();
  });
  const instanceOf = (pid: number): ProcessInstance => {
    const attribution = instances.attribute(credentialsOf(pid));
    if (attribution.kind !== 'identified') throw new Error(attribution.detail);
    return attribution.instance;
  };
  const endOf = (instance: ProcessInstance) => new Promise<InstanceEnd>((resolve) => instance.onEnd(resolve));

  test('is said to be in use', () => {
    expect(instances.watching()).toEqual({ kind: 'process-connector', reason: '', losses: 0, lookPercent: 0 });
  });

  test('tells of an execve, without a call or a look, and of no other', async () => {
    const shells = await Promise.all(
      Array.from({ length: 5 }, () => processes.run('/bin/sh', ['-c', 'read x; exec sleep 600'])),
    );
    const [first, ...others] = shells.map(({ pid }) => instanceOf(pid));
    if (first === undefined) throw new Error('there is none');
    const ended = endOf(first);
    shells[0]?.process.stdin?.write('\n');
    expect(await ended).toBe('executed');
    expect(others.map(({ end }) => end)).toEqual([undefined, undefined, undefined, undefined]);
    // The clock has stood still: nobody has looked.
    expect(clock.alarms).toBe(1);
  });

  test.skipIf(!isRoot)('tells of another user (needs root)', async () => {
    const peer = await processes.script(child);
    const instance = instanceOf(peer.pid);
    const ended = endOf(instance);
    expect(await peer.tell('setuid 65534')).toBe('changed');
    expect(await ended).toBe('changed-ids');
  });

  test.skipIf(!isRoot || !existsSync('/usr/bin/perl'))(
    'tells of no namespace: looks go on for these (needs root and perl)',
    async () => {
      const script = new URL('../../support/chameleon.pl', import.meta.url);
      const peer = await processes.run('/usr/bin/perl', [script.pathname]);
      expect(await peer.line()).toBe('on');
      const instance = instanceOf(peer.pid);
      expect(await peer.tell(`syscall ${process.arch === 'arm64' ? 97 : 272} 67108864`)).toBe('done');
      expect(instance.end).toBeUndefined();
      clock.advance(500);
      expect(instance.end).toBe('changed-namespace');
    },
  );

  test('tells on after a storm of programs that nobody holds', async () => {
    const shell = await processes.run('/bin/sh', ['-c', 'read x; exec sleep 600']);
    const instance = instanceOf(shell.pid);
    spawnSync('/bin/sh', ['-c', 'i=0; while [ $i -lt 300 ]; do /bin/true; i=$((i+1)); done']);
    const ended = endOf(instance);
    shell.process.stdin?.write('\n');
    expect(await ended).toBe('executed');
  });

  test('says when the kernel could not keep all that happened', () => {
    const own = ProcessConnector.open();
    if (typeof own === 'string') throw new Error(own);
    // SO_RCVBUF: the kernel makes the least of it.
    libc.setsockopt(own.descriptor, 1, 8, Buffer.from([1, 0, 0, 0]), 4);
    spawnSync('/bin/sh', ['-c', 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do /bin/true; done']);
    expect(own.receive().lost).toBe(true);
    // Enough room again: others start programs too.
    const room = Buffer.alloc(4);
    room.writeInt32LE(212_992);
    libc.setsockopt(own.descriptor, 1, 8, room, 4);
    own.receive();
    const { pid } = spawnSync('/bin/true');
    const { pids, lost } = own.receive();
    expect(lost).toBe(false);
    expect(pids).toContain(pid);
    own.close();
  });

  test('closes its socket', async () => {
    const before = descriptors(/socket/);
    const own = new ExitWatch();
    await until(() => own.events.reason === '', 'the connector answers');
    expect(descriptors(/socket/)).toBe(before + 1);
    await own.close();
    expect(descriptors(/socket/)).toBe(before);
  });
});

describe('where the process connector does not answer', () => {
  const script = new URL('../../support/watching.ts', import.meta.url);
  const mayUnshare = isRoot && existsSync(UNSHARE) && spawnSync(UNSHARE, ['--net', '/bin/true']).status === 0;

  test.skipIf(!mayUnshare).each([
    ['network', ['--net'], /network namespace of the host/],
    ['pid', ['--pid', '--fork'], /pid namespaces? of the host/],
  ])('as in another %s namespace, looks are in use, and why is said (needs root and unshare)', async (_, args, why) => {
    const agent = await processes.run(UNSHARE, [...args, process.execPath, '--no-warnings', script.pathname]);
    const watching = JSON.parse(await agent.line()) as Watching;
    expect(watching).toEqual({ kind: 'looks', reason: expect.stringMatching(why), losses: 0, lookPercent: 0 });
    expect(await agent.exited).toBe(0);
  });
});
