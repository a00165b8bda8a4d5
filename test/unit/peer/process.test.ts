import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MayflyError } from '../../../agent/kernel/errors.ts';
import { ExitWatch } from '../../../agent/peer/exit-watch.ts';
import type { InstanceEnd, ProcessInstance } from '../../../agent/peer/instance.ts';
import { type Attribution, Instances } from '../../../agent/peer/process.ts';
import { readBootId, readStartTime } from '../../../agent/peer/system/proc.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { credentialsOf, descriptors, isRoot, Processes, until } from '../../support/processes.ts';

const processes = new Processes();
afterAll(() => processes.clean());
const child = new URL('../../support/peer-child.ts', import.meta.url);
const HELD = /pidfd|pagemap|schedstat|cgroup|eventpoll|eventfd/;

describe('process instances', () => {
  let clock: ManualClock;
  let watch: ExitWatch;
  let instances: Instances;

  beforeEach(() => {
    clock = new ManualClock();
    watch = new ExitWatch('left alone');
    instances = new Instances(watch, clock);
  });
  afterEach(async () => {
    instances.close();
    await watch.close();
    expect(descriptors(HELD)).toBe(atRest);
  });
  const atRest = descriptors(HELD);

  const attribute = (credentials: ReturnType<typeof credentialsOf>): Attribution => {
    const attribution = instances.attribute(credentials);
    if (attribution.kind !== 'identified') throw new Error(attribution.detail);
    return attribution;
  };
  const endOf = (instance: ProcessInstance) => new Promise<InstanceEnd>((resolve) => instance.onEnd(resolve));

  test('say what the kernel says', async () => {
    const { pid } = await processes.sleeper();
    const { instance } = attribute(credentialsOf(pid));
    const startTime = readStartTime(pid) ?? '';
    expect(instance).toMatchObject({ pid, uid: process.geteuid?.(), startTime, bootId: readBootId(), proof: 'pidfd' });
    expect(instance.key).toBe(`${pid}.${startTime}.1`);
    expect(instance.end).toBeUndefined();
    expect(instance.alive()).toBe(true);
    expect(instances.shortcomings()).toEqual([]);
  });

  test('are found by a number, of those that live, and held as long as somebody holds them', async () => {
    const sleeper = await processes.sleeper();
    const found = instances.find(sleeper.pid);
    if (found.kind !== 'identified') throw new Error(found.detail);
    expect(found.instance).toMatchObject({ pid: sleeper.pid, uid: process.geteuid?.(), proof: 'start-time' });
    expect(found.instance.alive()).toBe(true);
    const again = instances.find(sleeper.pid);
    expect(again).toMatchObject({ kind: 'identified', instance: found.instance });
    found.release();
    if (again.kind === 'identified') again.release();
    expect(instances.size).toBe(0);
    expect(found.instance.alive()).toBe(false);
    sleeper.process.kill('SIGKILL');
    await sleeper.exited;
    expect(instances.find(sleeper.pid)).toMatchObject({ kind: 'unidentified', reason: 'exited' });
    expect(instances.find(2 ** 30)).toMatchObject({ kind: 'unidentified', reason: 'exited' });
  });

  test('are one for two connections of one process, and two for two processes', async () => {
    const [one, other] = [await processes.sleeper(), await processes.sleeper()];
    const first = attribute(credentialsOf(one.pid));
    const pidfds = descriptors(/pidfd/);
    const second = attribute(credentialsOf(one.pid));
    expect(second.instance).toBe(first.instance);
    expect(descriptors(/pidfd/)).toBe(pidfds);
    expect(attribute(credentialsOf(other.pid)).instance).not.toBe(first.instance);
    expect(instances.size).toBe(2);
  });

  test('are let go of with the last connection and hold, and then know nothing', async () => {
    const { pid } = await processes.sleeper();
    const [first, second] = [attribute(credentialsOf(pid)), attribute(credentialsOf(pid))];
    const { instance } = first;
    const release = instance.hold();
    first.release();
    first.release();
    second.release();
    expect(instances.size).toBe(1);
    expect(instance.alive()).toBe(true);
    release();
    release();
    expect(instances.size).toBe(0);
    expect(watch.size).toBe(0);
    expect(instance.alive()).toBe(false);
    expect(instance.end).toBeUndefined();
    expect(() => instance.hold()).toThrowError(
      new MayflyError('CALLER_UNKNOWN', `process ${pid} is no longer connected`),
    );
    const again = attribute(credentialsOf(pid));
    expect(again.instance).not.toBe(instance);
    expect(again.instance.key).not.toBe(instance.key);
  });

  test('end with their process, by an event, and tell each listener once', async () => {
    const sleeper = await processes.sleeper();
    const { instance, release } = attribute(credentialsOf(sleeper.pid));
    const told: string[] = [];
    instance.onEnd((reason) => told.push(`first ${reason}`));
    instance.onEnd(() => told.push('taken back'))();
    instance.onEnd((reason) => told.push(`second ${reason}`));
    const ended = endOf(instance);
    await sleeper.kill();
    expect(await ended).toBe('exited');
    expect(told).toEqual(['first exited', 'second exited']);
    expect(instance.end).toBe('exited');
    expect(instance.alive()).toBe(false);
    expect(instances.size).toBe(0);
    instance.onEnd((reason) => told.push(`late ${reason}`));
    expect(told).toEqual(['first exited', 'second exited', 'late exited']);
    // What was held is held no more; giving it back changes nothing.
    instance.hold()();
    release();
  });

  test('know of an exit before the event, when they are asked', async () => {
    const sleeper = await processes.sleeper();
    const { instance } = attribute(credentialsOf(sleeper.pid));
    process.kill(sleeper.pid, 'SIGKILL');
    // The event cannot come in between: nothing is awaited.
    const deadline = performance.now() + 5000;
    while (instance.alive()) expect(performance.now()).toBeLessThan(deadline);
    expect(instance.end).toBe('exited');
  });

  test('end when their process becomes another program, which then is an instance of its own', async () => {
    const shell = await processes.run('/bin/sh', ['-c', 'read x; exec sleep 600']);
    const { instance } = attribute(credentialsOf(shell.pid));
    shell.process.stdin?.write('\n');
    await until(() => !instance.alive(), 'the execve shows');
    expect(instance.end).toBe('executed');
    const successor = attribute(credentialsOf(shell.pid)).instance;
    expect(successor.alive()).toBe(true);
    expect(successor.startTime).toBe(instance.startTime);
    expect(successor.key).not.toBe(instance.key);
    const ended = endOf(successor);
    await shell.kill();
    expect(await ended).toBe('exited');
    expect(instance.end).toBe('executed');
  });

  test('are looked at twice a second, asked or not', async () => {
    const shells = await Promise.all(
      Array.from({ length: 10 }, () => processes.run('/bin/sh', ['-c', 'read x; exec sleep 600'])),
    );
    const held = shells.map((shell) => attribute(credentialsOf(shell.pid)).instance);
    clock.advance(2000);
    expect(held.map((instance) => instance.end)).toEqual(Array(10).fill(undefined));
    for (const shell of shells) {
      shell.process.stdin?.write('\n');
      await until(() => programOf(shell.pid) === 'sleep', 'the execve is done');
    }
    clock.advance(500);
    expect(held.map((instance) => instance.end)).toEqual(Array(10).fill('executed'));
    clock.advance(500);
    expect(clock.alarms).toBe(0);
  });

  test('are refused to the dead, and leave nothing behind', async () => {
    const sleeper = await processes.sleeper();
    const credentials = credentialsOf(sleeper.pid);
    await sleeper.kill();
    expect(instances.attribute(credentials)).toEqual({
      kind: 'unidentified',
      reason: 'exited',
      detail: `process ${sleeper.pid} has exited`,
    });
    expect(instances.size).toBe(0);
    expect(watch.size).toBe(0);
  });

  test('are refused to a process that runs under other ids than it connected under', async () => {
    const { pid } = await processes.sleeper();
    const attributed = attribute(credentialsOf(pid));
    expect(instances.attribute(credentialsOf(pid, { uid: 4711 }))).toMatchObject({ reason: 'changed' });
    expect(attributed.instance.alive()).toBe(true);
    expect(instances.size).toBe(1);
  });

  test('a listener that throws does not keep the others from hearing', async () => {
    const sleeper = await processes.sleeper();
    const { instance } = attribute(credentialsOf(sleeper.pid));
    const uncaught = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    const thrown = new Promise((resolve) => {
      process.once('uncaughtException', resolve);
    });
    instance.onEnd(() => {
      throw new Error('a defect');
    });
    const ended = endOf(instance);
    await sleeper.kill();
    expect(await ended).toBe('exited');
    expect(await thrown).toEqual(new Error('a defect'));
    for (const listener of uncaught) process.on('uncaughtException', listener);
  });

  test.skipIf(!isRoot)('end when their process becomes another user (needs root)', async () => {
    const peer = await processes.script(child);
    const { instance } = attribute(credentialsOf(peer.pid));
    expect(await peer.tell('setuid 65534')).toBe('changed');
    expect(instance.alive()).toBe(false);
    expect(instance.end).toBe('changed-ids');
    // A connection that root's process had opened, accepted only now.
    expect(instances.attribute(credentialsOf(peer.pid))).toMatchObject({ reason: 'changed' });
    expect(attribute(credentialsOf(peer.pid, { uid: 65534, gid: 65534 })).instance.uid).toBe(65534);
  });
});

function programOf(pid: number): string {
  return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
}
