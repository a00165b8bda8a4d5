import { existsSync, readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { differenceFrom, type NotAdopted, type RecordedInstance } from '../../../agent/peer/adoption.ts';
import { ExitWatch } from '../../../agent/peer/exit-watch.ts';
import type { InstanceFacts, ProcessInstance } from '../../../agent/peer/instance.ts';
import { Instances } from '../../../agent/peer/process.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { credentialsOf, descriptors, isRoot, Processes, until } from '../../support/processes.ts';

const HELD = /pidfd|pagemap|schedstat|cgroup/;
const SETARCH = '/usr/bin/setarch';
const processes = new Processes();
afterAll(() => processes.clean());
const child = new URL('../../support/peer-child.ts', import.meta.url);

/** Written down and read again, as the ledger does it. */
function recordOf(instance: ProcessInstance): RecordedInstance {
  const { bootId, pid, startTime, uid, gid } = instance;
  return JSON.parse(JSON.stringify({ bootId, pid, startTime, uid, gid, facts: instance.facts() })) as RecordedInstance;
}

describe('an instance of an earlier run', () => {
  let watch: ExitWatch;
  let instances: Instances;
  const atRest = descriptors(HELD);

  beforeEach(() => {
    watch = new ExitWatch('left alone');
    instances = new Instances(watch, new ManualClock());
  });
  afterEach(async () => {
    instances.close();
    await watch.close();
    expect(descriptors(HELD)).toBe(atRest);
  });

  const instanceOf = (pid: number): ProcessInstance => {
    const attribution = instances.attribute(credentialsOf(pid));
    if (attribution.kind !== 'identified') throw new Error(attribution.detail);
    return attribution.instance;
  };
  /** The agent is started again: what it held it holds no more. */
  const restart = (): void => {
    instances.close();
    instances = new Instances(watch, new ManualClock());
  };
  const adopted = (recorded: RecordedInstance) => {
    const adoption = instances.adopt(recorded);
    if (adoption.kind !== 'adopted') throw new Error(`${adoption.kind}: ${adoption.detail}`);
    return adoption;
  };
  const nothingIsHeld = (): void => {
    expect(instances.size).toBe(0);
    expect(watch.size).toBe(0);
  };

  test('lives on, is watched, and is the instance of what its process connects', async () => {
    const sleeper = await processes.sleeper();
    const recorded = recordOf(instanceOf(sleeper.pid));
    restart();
    const { instance, release } = adopted(recorded);
    expect(instance).toMatchObject({ pid: sleeper.pid, startTime: recorded.startTime, end: undefined });
    expect(instance.proof).toBe(recorded.facts.inode === undefined ? 'start-time' : 'pidfd');
    expect(instance.facts()).toEqual(recorded.facts);
    const again = adopted(recorded);
    expect(again.instance).toBe(instance);
    expect(instanceOf(sleeper.pid)).toBe(instance);
    release();
    again.release();
    expect(instance.alive()).toBe(true);
    const ended = new Promise((resolve) => instance.onEnd(resolve));
    await sleeper.kill();
    expect(await ended).toBe('exited');
    nothingIsHeld();
  });

  test('is held until its last release, like any other', async () => {
    const { pid } = await processes.sleeper();
    const recorded = recordOf(instanceOf(pid));
    restart();
    adopted(recorded).release();
    nothingIsHeld();
  });

  test('lives on in a process that is stopped', async () => {
    const sleeper = await processes.sleeper();
    const recorded = recordOf(instanceOf(sleeper.pid));
    restart();
    sleeper.process.kill('SIGSTOP');
    expect(adopted(recorded).instance.alive()).toBe(true);
  });

  test('is gone with its process, reaped or not', async () => {
    const shell = await processes.run('/bin/sh', ['-c', 'sleep 600 & echo $!; exec sleep 600']);
    const zombie = Number(await shell.line());
    const runsSleep = (pid: number) => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sleep\n';
    await until(() => runsSleep(shell.pid) && runsSleep(zombie), 'both are what they stay');
    const records = [recordOf(instanceOf(shell.pid)), recordOf(instanceOf(zombie))] as const;
    restart();
    process.kill(zombie, 'SIGKILL');
    await until(() => instances.adopt(records[1]).kind === 'gone', 'it is over');
    await shell.kill();
    expect(instances.adopt(records[0])).toEqual({ kind: 'gone', detail: `process ${shell.pid} has exited` });
    nothingIsHeld();
  });

  test('does not survive the machine', async () => {
    const { pid } = await processes.sleeper();
    const recorded = { ...recordOf(instanceOf(pid)), bootId: 'another' };
    restart();
    expect(instances.adopt(recorded)).toMatchObject({ kind: 'rebooted' });
    nothingIsHeld();
  });

  test.each(['exec sleep 600', 'exec /bin/sh -c "echo on; read x; exec sleep 600"'])(
    'is over when its process did %j meanwhile',
    async (program) => {
      const shell = await processes.run('/bin/sh', ['-c', `echo on; read x; ${program}`]);
      expect(await shell.line()).toBe('on');
      const before = instanceOf(shell.pid);
      const recorded = recordOf(before);
      shell.process.stdin?.write('\n');
      await until(() => !before.alive(), 'the execve shows');
      restart();
      expect(instances.adopt(recorded)).toMatchObject({ kind: 'executed' });
      nothingIsHeld();
    },
  );

  test.skipIf(!isRoot)('is over when its process has changed its user meanwhile (needs root)', async () => {
    const peer = await processes.script(child);
    const recorded = recordOf(instanceOf(peer.pid));
    restart();
    expect(await peer.tell('setuid 65534')).toBe('changed');
    expect(instances.adopt(recorded)).toMatchObject({ kind: 'changed-ids' });
    nothingIsHeld();
  });

  test('is not adopted over what could not be looked into, then or now', async () => {
    const { pid } = await processes.sleeper();
    const recorded = recordOf(instanceOf(pid));
    restart();
    for (const fact of ['layout', 'executable', 'cgroup', 'namespaces'] as const) {
      const facts = { ...recorded.facts, [fact]: undefined };
      expect(instances.adopt({ ...recorded, facts })).toEqual({
        kind: 'unverifiable',
        detail: `whether process ${pid} still is what it was cannot be told: ${fact}`,
      });
      nothingIsHeld();
    }
    expect(instances.adopt({ ...recorded, startTime: 'unknown' })).toMatchObject({ kind: 'unverifiable' });
    nothingIsHeld();
  });

  test.skipIf(!existsSync(SETARCH))(
    'is not adopted when its memory lies where it always does, as an execve would leave no trace (needs setarch)',
    async () => {
      const shell = await processes.run(SETARCH, ['-R', '/bin/sh', '-c', 'echo on; read x']);
      expect(await shell.line()).toBe('on');
      const recorded = recordOf(instanceOf(shell.pid));
      expect(recorded.facts.layout).toBeUndefined();
      restart();
      expect(instances.adopt(recorded)).toMatchObject({ kind: 'unverifiable' });
      nothingIsHeld();
    },
  );
});

describe('the difference between what was recorded and what is', () => {
  const facts: InstanceFacts = {
    inode: '1',
    executable: '/usr/bin/web',
    cgroup: '/web.slice',
    namespaces: { mnt: '1', net: '2' },
    layout: 'aa',
  };
  const recorded: RecordedInstance = { bootId: 'b', pid: 7, startTime: '99', uid: 1000, gid: 1000, facts };
  const difference = (over: Partial<InstanceFacts>, holder = {}): NotAdopted['kind'] | undefined =>
    differenceFrom(recorded, { ...recorded, ...holder, facts: () => ({ ...facts, ...over }) })?.kind;

  test('is none when nothing has changed, or only the file of the program was replaced', () => {
    expect(difference({})).toBeUndefined();
    expect(difference({ executable: '/usr/bin/web (deleted)' })).toBeUndefined();
  });

  test('has the name of what has changed', () => {
    expect(difference({ inode: '2' })).toBe('replaced');
    expect(difference({}, { startTime: '100' })).toBe('replaced');
    expect(difference({}, { uid: 0 })).toBe('changed-ids');
    expect(difference({}, { gid: 0 })).toBe('changed-ids');
    expect(difference({ executable: '/usr/bin/other' })).toBe('executed');
    expect(difference({ layout: 'bb' })).toBe('executed');
    expect(difference({ cgroup: '/db.slice' })).toBe('changed-cgroup');
    expect(difference({ namespaces: { mnt: '3', net: '2' } })).toBe('changed-namespace');
  });

  test('is that of the process before that of what it does', () => {
    expect(difference({ inode: '2', layout: 'bb', cgroup: '/db.slice' }, { uid: 0 })).toBe('replaced');
  });

  test('on a kernel whose pidfds have no inodes is told by the start time', () => {
    expect(difference({ inode: undefined })).toBeUndefined();
    expect(difference({ inode: undefined }, { startTime: '100' })).toBe('replaced');
  });
});
