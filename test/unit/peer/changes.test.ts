import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ExitWatch } from '../../../agent/peer/exit-watch.ts';
import type { InstanceEnd, ProcessInstance } from '../../../agent/peer/instance.ts';
import { Instances } from '../../../agent/peer/process.ts';
import { hasExited } from '../../../agent/peer/system/pidfd.ts';
import { firstThreadIsOver } from '../../../agent/peer/system/proc.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { type Child, credentialsOf, descriptors, isRoot, Processes, until } from '../../support/processes.ts';

const PERL = '/usr/bin/perl';
const NSENTER = '/usr/bin/nsenter';
const UNSHARE = '/usr/bin/unshare';
const arm = process.arch === 'arm64';
const SYS = { unshare: arm ? 97 : 272, setns: arm ? 268 : 308, exit: arm ? 93 : 60, ptrace: arm ? 117 : 101 };
const CLONE = { mnt: 0x00020000, uts: 0x04000000, ipc: 0x08000000, user: 0x10000000, net: 0x40000000 };
const withPerl = existsSync(PERL);

const processes = new Processes();
const threads = new URL('../../support/threads.ts', import.meta.url);
const script = new URL('../../support/chameleon.pl', import.meta.url);
afterAll(() => processes.clean());

describe('a process that becomes something else', () => {
  let clock: ManualClock;
  let watch: ExitWatch;
  let instances: Instances;
  const atRest = descriptors(/pidfd|pagemap|schedstat|cgroup/);

  beforeEach(() => {
    clock = new ManualClock();
    watch = new ExitWatch('left alone');
    instances = new Instances(watch, clock);
  });
  afterEach(async () => {
    instances.close();
    await watch.close();
    expect(descriptors(/pidfd|pagemap|schedstat|cgroup/)).toBe(atRest);
  });

  const instanceOf = (pid: number, ids = {}): ProcessInstance => {
    const attribution = instances.attribute(credentialsOf(pid, ids));
    if (attribution.kind !== 'identified') throw new Error(attribution.detail);
    return attribution.instance;
  };
  const chameleon = async (): Promise<Child> => {
    const child = await processes.run(PERL, [script.pathname]);
    expect(await child.line()).toBe('on');
    return child;
  };
  const threaded = async (...args: string[]): Promise<Child> => {
    const child = await processes.script(threads, args);
    expect(await child.line()).toBe('on');
    return child;
  };
  /** Looks that are due by themselves within half a second. */
  const looks = (): void => clock.advance(500);
  /** What a call finds. */
  const call = (instance: ProcessInstance): boolean => {
    clock.advance(100);
    return instance.alive();
  };
  const cgroupAt = (directory: string): { enter: (pid: number) => void; remove: () => void } => {
    mkdirSync(directory);
    return {
      enter: (pid) => writeFileSync(`${directory}/cgroup.procs`, String(pid)),
      remove: () => rmdirSync(directory),
    };
  };

  test.skipIf(!withPerl).each([
    ['itself anew', PERL],
    ['another program', '/bin/cat'],
  ])('by executing %s is noticed by looks (needs perl)', async (_, program) => {
    const child = await chameleon();
    const instance = instanceOf(child.pid);
    looks();
    expect(instance.end).toBeUndefined();
    child.process.stdin?.write(`exec ${program} ${program === PERL ? script.pathname : '-'}\n`);
    await until(() => !call(instance), 'the execve shows');
    expect(instance.end).toBe('executed');
  });

  test('by an execve of another thread than the first', async () => {
    const child = await threaded('other', 'exec');
    const instance = instanceOf(child.pid);
    child.process.stdin?.write('\n');
    await until(() => readFileSync(`/proc/${child.pid}/comm`, 'utf8') === 'sleep\n', 'the execve is done');
    looks();
    expect(instance.end).toBe('executed');
  });

  test.skipIf(!isRoot || !withPerl).each(['setuid 65534', 'setgid 65534', 'seteuid 65534'])(
    'by %s (needs root and perl)',
    async (change) => {
      for (const notice of [looks, (instance: ProcessInstance) => void call(instance)]) {
        const child = await chameleon();
        const instance = instanceOf(child.pid);
        expect(call(instance)).toBe(true);
        expect(await child.tell(change)).toBe('done');
        notice(instance);
        expect(instance.end).toBe('changed-ids');
      }
    },
  );

  const unified = mountsOf('cgroup2', '');
  test.skipIf(!isRoot || unified === undefined)('by another cgroup (needs root and cgroup2)', async () => {
    const cgroup = cgroupAt(`${unified}/mayfly-test-${process.pid}`);
    const sleepers = [await processes.sleeper(), await processes.sleeper()] as const;
    const [looked, called] = [instanceOf(sleepers[0].pid), instanceOf(sleepers[1].pid)];
    for (const { pid } of sleepers) cgroup.enter(pid);
    expect(call(called)).toBe(false);
    looks();
    expect([looked.end, called.end]).toEqual(['changed-cgroup', 'changed-cgroup']);
    expect(instanceOf(sleepers[0].pid).alive()).toBe(true);
    await Promise.all(sleepers.map((sleeper) => sleeper.kill()));
    await until(() => removed(cgroup), 'the cgroup is empty');
  });

  const old = mountsOf('cgroup', 'pids');
  test.skipIf(!isRoot || old === undefined)(
    'by another cgroup of an old hierarchy (needs root and one of them)',
    async () => {
      const cgroup = cgroupAt(`${old}/mayfly-test-${process.pid}`);
      const sleeper = await processes.sleeper();
      const instance = instanceOf(sleeper.pid);
      expect(call(instance)).toBe(true);
      cgroup.enter(sleeper.pid);
      looks();
      expect(instance.end).toBe('changed-cgroup');
      await sleeper.kill();
      await until(() => removed(cgroup), 'the cgroup is empty');
    },
  );

  test.skipIf(!isRoot || !withPerl).each(Object.entries(CLONE))(
    'by a %s namespace of its own (needs root and perl)',
    async (_, flag) => {
      for (const notice of [looks, (instance: ProcessInstance) => void call(instance)]) {
        const child = await chameleon();
        const instance = instanceOf(child.pid);
        looks();
        expect(call(instance)).toBe(true);
        expect(await child.tell(`syscall ${SYS.unshare} ${flag}`)).toBe('done');
        notice(instance);
        expect(instance.end).toBe('changed-namespace');
        expect(instanceOf(child.pid).alive()).toBe(true);
      }
    },
  );

  test.skipIf(!isRoot || !withPerl)('by a namespace, after it has rested for long (needs root and perl)', async () => {
    const child = await chameleon();
    const instance = instanceOf(child.pid);
    clock.advance(10_000);
    expect(instance.end).toBeUndefined();
    expect(await child.tell(`syscall ${SYS.unshare} ${CLONE.uts}`)).toBe('done');
    looks();
    expect(instance.end).toBe('changed-namespace');
  });

  test.skipIf(!isRoot)('is not one of which another thread enters a namespace alone (needs root)', async () => {
    const child = await threaded('other', 'call', String(SYS.unshare));
    const instance = instanceOf(child.pid);
    expect(await child.tell('go')).toBe('done');
    looks();
    expect(call(instance)).toBe(true);
    const first = await threaded('first', 'call', String(SYS.unshare));
    const ends = instanceOf(first.pid);
    expect(await first.tell('go')).toBe('done');
    looks();
    expect(ends.end).toBe('changed-namespace');
  });

  const tools = [NSENTER, UNSHARE].every((path) => existsSync(path));
  test.skipIf(!isRoot || !withPerl || !tools)(
    'is not one that came through nsenter; it is when it enters another one (needs root, perl, nsenter, unshare)',
    async () => {
      const host = await processes.run(UNSHARE, ['--uts', '/bin/sh', '-c', 'echo on; read x']);
      expect(await host.line()).toBe('on');
      const child = await processes.run(NSENTER, [`--uts=/proc/${host.pid}/ns/uts`, PERL, script.pathname]);
      expect(await child.line()).toBe('on');
      const [entered, hosting] = [instanceOf(child.pid), instanceOf(host.pid)];
      expect(entered.facts().namespaces?.['uts']).toBe(hosting.facts().namespaces?.['uts']);
      expect(entered.facts().namespaces?.['uts']).not.toBe(instanceOf(process.pid).facts().namespaces?.['uts']);
      looks();
      expect(call(entered)).toBe(true);
      expect(await child.tell(`setns ${SYS.setns} /proc/${process.pid}/ns/uts`)).toBe('done');
      looks();
      expect(entered.end).toBe('changed-namespace');
      expect(call(hosting)).toBe(true);
    },
  );

  test.skipIf(!withPerl).each(['fork', 'fork-twice'])(
    'is not the parent of a %s; the child is an instance of its own (needs perl)',
    async (how) => {
      const parent = await chameleon();
      const instance = instanceOf(parent.pid);
      const pid = Number(await parent.tell(how));
      const child = instanceOf(pid);
      expect(child).not.toBe(instance);
      const ended = endOf(child);
      process.kill(pid, 'SIGKILL');
      expect(await ended).toBe('exited');
      looks();
      expect(call(instance)).toBe(true);
      if (how === 'fork') expect(readFileSync(`/proc/${pid}/stat`, 'utf8')).toMatch(/\) Z /);
    },
  );

  test('is not the parent of a program that it has started, which shares its memory at first (vfork)', async () => {
    // A shell and Node both start programs in this way.
    const shell = await processes.run('/bin/sh', ['-c', 'echo on; read x; sleep 600 & echo $!; read x']);
    expect(await shell.line()).toBe('on');
    const instance = instanceOf(shell.pid);
    const pid = Number(await shell.tell('go'));
    await until(() => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sleep\n', 'the program runs');
    const child = instanceOf(pid);
    looks();
    expect(call(instance)).toBe(true);
    expect(child.pid).toBe(pid);
    await shell.kill();
    expect(call(child)).toBe(true);
    process.kill(pid, 'SIGKILL');
  });

  test('is not one that is stopped, and no look waits for it', async () => {
    const sleeper = await processes.sleeper();
    const instance = instanceOf(sleeper.pid);
    sleeper.process.kill('SIGSTOP');
    await until(() => readFileSync(`/proc/${sleeper.pid}/stat`, 'utf8').includes(') T '), 'it is stopped');
    const began = performance.now();
    clock.advance(10_000);
    expect(call(instance)).toBe(true);
    expect(instance.facts().layout).toBeDefined();
    expect(performance.now() - began).toBeLessThan(500);
    const ended = endOf(instance);
    await sleeper.kill();
    expect(await ended).toBe('exited');
  });

  test.skipIf(!isRoot || !withPerl)(
    'is not one that is traced, and no look waits for it (needs root and perl)',
    async () => {
      const sleeper = await processes.sleeper();
      const instance = instanceOf(sleeper.pid);
      const tracer = await chameleon();
      // PTRACE_ATTACH, which stops it until the tracer goes on with it.
      expect(await tracer.tell(`syscall ${SYS.ptrace} 16 ${sleeper.pid} 0 0`)).toBe('done');
      await until(() => readFileSync(`/proc/${sleeper.pid}/stat`, 'utf8').includes(') t '), 'it is traced');
      const began = performance.now();
      clock.advance(10_000);
      expect(call(instance)).toBe(true);
      expect(instance.facts().layout).toBeDefined();
      expect(performance.now() - began).toBeLessThan(500);
      await tracer.kill();
      expect(call(instance)).toBe(true);
    },
  );

  test('is not one whose first thread is over while another runs', async () => {
    const child = await threaded('first', 'call', String(SYS.exit));
    const instance = instanceOf(child.pid);
    child.process.stdin?.write('\n');
    await until(() => firstThreadIsOver(child.pid), 'the first thread is over');
    clock.advance(10_000);
    expect(call(instance)).toBe(true);
    expect(instance.facts()).toMatchObject({ inode: expect.anything(), layout: undefined, executable: undefined });
    // It may connect like any other, with what is left to know of it.
    instances.close();
    instances = new Instances(watch, clock);
    const again = instanceOf(child.pid);
    looks();
    expect(call(again)).toBe(true);
    const ended = endOf(again);
    await child.kill();
    expect(await ended).toBe('exited');
  });

  test('is not one that has become a zombie which nobody reaps: it is over', async () => {
    const shell = await processes.run('/bin/sh', ['-c', 'sleep 600 & echo $!; exec sleep 600']);
    const pid = Number(await shell.line());
    // A shell would reap it.
    await until(() => readFileSync(`/proc/${shell.pid}/comm`, 'utf8') === 'sleep\n', 'the parent is another program');
    const instance = instanceOf(pid);
    const ended = endOf(instance);
    process.kill(pid, 'SIGKILL');
    expect(await ended).toBe('exited');
    expect(readFileSync(`/proc/${pid}/stat`, 'utf8')).toMatch(/\) Z /);
    const credentials = credentialsOf(pid);
    expect(hasExited(credentials.pidfd)).toBe(true);
    expect(instances.attribute(credentials)).toMatchObject({ kind: 'unidentified', reason: 'exited' });
  });

  test.skipIf(!isRoot)('leaves nothing to who gets its number (needs root)', async () => {
    const first = await processes.sleeper();
    const instance = instanceOf(first.pid);
    const { startTime, bootId, uid, gid } = instance;
    const recorded = { pid: first.pid, startTime, bootId, uid, gid, facts: instance.facts() };
    await first.kill();
    const heir = await withNumber(first.pid, { uid: 65534, gid: 65534 });
    expect(call(instance)).toBe(false);
    expect(instance.end).toBe('exited');
    const other = instanceOf(heir.pid, { uid: 65534, gid: 65534 });
    expect(other).not.toBe(instance);
    expect(other).toMatchObject({ pid: first.pid, uid: 65534 });
    expect(instance.end).toBe('exited');
    expect(instances.adopt(recorded)).toMatchObject({ kind: 'replaced' });
    expect(call(other)).toBe(true);
    await heir.kill();
    expect(instances.adopt(recorded)).toMatchObject({ kind: 'gone' });
  });

  /** A process with a number of our choice: the kernel gives the next one to whoever asks first, on a busy machine another. */
  async function withNumber(pid: number, options: { uid: number; gid: number }): Promise<Child> {
    for (let attempt = 0; attempt < 200; attempt += 1) {
      writeFileSync('/proc/sys/kernel/ns_last_pid', String(pid - 1));
      const child = await processes.sleeper(options);
      if (child.pid === pid) return child;
      await child.kill();
    }
    throw new Error(`no process got the number ${pid}`);
  }
});

function endOf(instance: ProcessInstance): Promise<InstanceEnd> {
  return new Promise((resolve) => instance.onEnd(resolve));
}

function removed(cgroup: { remove: () => void }): boolean {
  try {
    cgroup.remove();
    return true;
  } catch {
    return false;
  }
}

/** Where a hierarchy is mounted in which cgroups can be made. */
function mountsOf(type: string, option: string): string | undefined {
  const lines = readFileSync('/proc/mounts', 'utf8').split('\n');
  const mounts = lines
    .map((line) => line.split(' '))
    .filter(([, , kind, options]) => kind === type && options?.includes(option));
  return mounts
    .map(([, path]) => path)
    .find((path) => path !== undefined && spawnSync('test', ['-w', path]).status === 0);
}
