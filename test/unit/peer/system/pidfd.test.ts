import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { createEpoll, Epoll } from '../../../../agent/peer/system/epoll.ts';
import { libc, uninterrupted } from '../../../../agent/peer/system/native.ts';
import { describe as describeProcess, hasExited, openPidfd, pidfdInode } from '../../../../agent/peer/system/pidfd.ts';
import { layoutIn, ownerOf, readBootId, readStartTime, startTimeIn } from '../../../../agent/peer/system/proc.ts';
import { descriptorPair } from '../../../../agent/peer/system/unix-socket.ts';
import { isRoot, Processes, until } from '../../../support/processes.ts';

const processes = new Processes();
afterAll(() => processes.clean());

describe('a pidfd', () => {
  test('says when its process is over, before and after it is reaped', async () => {
    const child = await processes.sleeper();
    const pidfd = openPidfd(child.pid);
    expect(hasExited(pidfd)).toBe(false);
    child.process.kill('SIGKILL');
    await until(() => hasExited(pidfd), 'the exit shows');
    await child.exited;
    expect(hasExited(pidfd)).toBe(true);
    closeSync(pidfd);
  });

  test('of nobody is refused with the name of the errno', async () => {
    const child = await processes.sleeper();
    await child.kill();
    expect(() => openPidfd(child.pid)).toThrowError(expect.objectContaining({ code: 'ESRCH', syscall: 'pidfd_open' }));
  });

  test('that is closed is an error, not an answer', () => {
    expect(() => hasExited(9999)).toThrowError(expect.objectContaining({ code: 'EBADF' }));
  });

  test('has an inode that no other process has, where the kernel gives it one', async () => {
    const [one, other] = [await processes.sleeper(), await processes.sleeper()];
    const pidfds = [openPidfd(one.pid), openPidfd(one.pid), openPidfd(other.pid)];
    const [first, again, second] = pidfds.map(pidfdInode);
    expect(again).toBe(first);
    if (first === undefined) expect(second).toBeUndefined();
    else expect(second).not.toBe(first);
    for (const pidfd of pidfds) closeSync(pidfd);
  });

  test('tells the ids of its process, where the kernel does', () => {
    const pidfd = openPidfd(process.pid);
    const told = { uid: process.geteuid?.(), gid: process.getegid?.(), cgroup: expect.any(Number) as number };
    expect([told, undefined]).toContainEqual(describeProcess(pidfd));
    closeSync(pidfd);
  });

  test.skipIf(!isRoot)('tells another user’s ids as /proc does (needs root)', async () => {
    const child = await processes.sleeper({ uid: 65534, gid: 65533 });
    const pidfd = openPidfd(child.pid);
    expect(ownerOf(child.pid)).toEqual({ uid: 65534, gid: 65533 });
    const told = { uid: 65534, gid: 65533, cgroup: expect.any(Number) as number };
    expect([told, undefined]).toContainEqual(describeProcess(pidfd));
    closeSync(pidfd);
  });
});

describe('/proc', () => {
  test('gives one start time for one process, and none for nobody', async () => {
    const child = await processes.sleeper();
    const started = readStartTime(child.pid);
    expect(started).toMatch(/^\d+$/);
    expect(readStartTime(child.pid)).toBe(started);
    expect(Number(started)).toBeGreaterThan(Number(readStartTime(process.pid)));
    await child.kill();
    expect(readStartTime(child.pid)).toBeUndefined();
    expect(ownerOf(child.pid)).toBeUndefined();
  });

  test.each([['plain'], ['with blank'], ['a) S 1 2 (b'], [') 7 7 7 7'], ['new\nline']])(
    'is read right for a process named %j',
    (name) => {
      const fields = Array.from({ length: 50 }, (_, index) => String(index + 3));
      expect(startTimeIn(`42 (${name}) S ${fields.slice(1).join(' ')}\n`)).toBe('22');
    },
  );

  test('that is cut off gives no start time and no layout', () => {
    for (const text of ['42 (sh) S 1 2 3', '']) {
      expect(startTimeIn(text)).toBeUndefined();
      expect(layoutIn(text)).toBeUndefined();
    }
  });

  test.each([['0'], ['1']])('that hides where memory lies, with %s, gives no layout', (startCode) => {
    const stat = (start: string) =>
      `42 (sh) S ${Array.from({ length: 49 }, (_, index) => (index + 4 === 26 ? start : String(index + 4))).join(' ')}\n`;
    expect(layoutIn(stat(startCode))).toBeUndefined();
    expect(layoutIn(stat('26'))).toBe('26 27 28 45 46 47 48 49 50 51');
  });

  test('names this boot', () => {
    expect(readBootId()).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  });
});

describe('a signal in the middle of a call', () => {
  test('has the call made again, and no error of it', () => {
    const epoll = new Epoll(createEpoll());
    const [ours, theirs] = descriptorPair();
    epoll.add(ours, 1, 'always');
    // However late this process begins to wait, signals come to it then, and an answer after the last of them.
    const signals = `for _ in 1 2 3 4 5; do sleep 0.1; kill -USR2 ${process.pid}; done; echo over`;
    const seen = () => {};
    process.on('SIGUSR2', seen);
    const child = spawn('sh', ['-c', signals], { stdio: ['ignore', theirs, 'ignore'] });
    const results: number[] = [];
    const last = uninterrupted(() => {
      const result = libc.epollWait(epoll.descriptor, Buffer.alloc(16), 1, 10_000);
      results.push(result);
      return result;
    });
    expect(results.slice(0, -1)).not.toEqual([]);
    expect(results.slice(0, -1).every((result) => result === -1)).toBe(true);
    expect(last).toBe(1);
    child.kill();
    process.off('SIGUSR2', seen);
    for (const fd of [ours, theirs, epoll.descriptor]) closeSync(fd);
  });
});
