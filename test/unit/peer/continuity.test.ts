import { execFileSync } from 'node:child_process';
import { closeSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { SystemClock } from '../../../agent/kernel/clock.ts';
import { Continuity } from '../../../agent/peer/continuity.ts';
import { openPidfd } from '../../../agent/peer/system/pidfd.ts';
import { descriptors, isRoot, Processes, until } from '../../support/processes.ts';

const processes = new Processes();
afterAll(() => processes.clean());
const child = new URL('../../support/peer-child.ts', import.meta.url);
const clock = new SystemClock();
const HELD = /pagemap|schedstat|cgroup/;
const own = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };

describe('continuity', () => {
  test.each([
    ['another program', 'echo on; read x; exec sleep 600', process.env],
    ['the same program', 'echo on; read x; exec sh -c "read x"', process.env],
    ['a program, without an environment before or after', 'echo on; read x; exec sleep 600', {}],
  ])('ends with an execve of %s', async (_, script, env) => {
    const shell = await processes.run('/bin/sh', ['-c', script], { env });
    expect(await shell.line()).toBe('on');
    const pidfd = openPidfd(shell.pid);
    const continuity = new Continuity(shell.pid, pidfd, own, clock);
    expect(continuity.noticesExec).toBe(true);
    expect(continuity.standing()).toBe('same');
    shell.process.stdin?.write('\n');
    await until(() => continuity.standing() !== 'same', 'the execve shows');
    expect(continuity.standing()).toBe('executed');
    continuity.close();
    closeSync(pidfd);
  });

  test('ends with an execve that leaves its memory to another process, as after vfork', async () => {
    const fifo = join(processes.directory(), 'fifo');
    execFileSync('/usr/bin/mkfifo', [fifo]);
    const starter = await processes.script(new URL('../../support/shared-memory.ts', import.meta.url), [
      fifo,
      '/bin/sleep',
      '600',
    ]);
    expect(await starter.line()).toBe('starts');
    const children = () => readFileSync(`/proc/${starter.pid}/task/${starter.pid}/children`, 'utf8').trim();
    await until(() => children() !== '', 'it has a child');
    const pid = Number(children());
    const pidfd = openPidfd(pid);
    const continuity = new Continuity(pid, pidfd, own, clock);
    expect(continuity.noticesExec).toBe(true);
    expect(continuity.standing('whole')).toBe('same');
    await writeFile(fifo, '');
    expect(await starter.line()).toBe('started 0');
    expect(continuity.standing('whole')).toBe('executed');
    process.kill(pid, 'SIGKILL');
    continuity.close();
    closeSync(pidfd);
  });

  test('survives what is no execve of the process itself: threads, forks, programs that it starts', async () => {
    const shell = await processes.run('/bin/sh', [
      '-c',
      'echo on; read x; /bin/true; (exec /bin/true); echo done; read x',
    ]);
    await shell.line();
    const pidfd = openPidfd(shell.pid);
    const continuity = new Continuity(shell.pid, pidfd, own, clock);
    expect(await shell.tell('go')).toBe('done');
    expect(continuity.standing()).toBe('same');
    continuity.close();
    closeSync(pidfd);
  });

  test('takes an exit for an exit, not for a change', async () => {
    const sleeper = await processes.sleeper();
    const pidfd = openPidfd(sleeper.pid);
    const continuity = new Continuity(sleeper.pid, pidfd, own, clock);
    await sleeper.kill();
    expect(continuity.standing()).toBe('gone');
    continuity.close();
    closeSync(pidfd);
  });

  test('closes what it opened, once', async () => {
    const before = descriptors(HELD);
    const continuity = new Continuity(process.pid, openPidfd(process.pid), own, clock);
    expect(descriptors(HELD)).toBeGreaterThan(before);
    continuity.close();
    continuity.close();
    expect(descriptors(HELD)).toBe(before);
    expect(continuity.standing()).toBe('same');
  });

  test.skipIf(!isRoot)('ends with a change of uid (needs root)', async () => {
    const peer = await processes.script(child);
    const pidfd = openPidfd(peer.pid);
    const continuity = new Continuity(peer.pid, pidfd, own, clock);
    expect(continuity.standing()).toBe('same');
    expect(await peer.tell('setuid 65534')).toBe('changed');
    expect(continuity.standing()).toBe('changed-ids');
    continuity.close();
    closeSync(pidfd);
  });

  test.skipIf(!isRoot)('of what an agent without rights may not look into is not doubted (needs root)', async () => {
    const observer = new URL('../../support/continuity-observer.ts', import.meta.url);
    const sleeper = await processes.sleeper();
    const agent = await processes.script(observer, [String(sleeper.pid)], { uid: 65534, gid: 65534 });
    expect(await agent.line()).toBe('notices exec: false, namespaces: false, standing: same');
  });
});
