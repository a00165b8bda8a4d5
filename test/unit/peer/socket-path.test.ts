import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isMayflyError } from '../../../agent/kernel/errors.ts';
import { type BoundSocket, bindSocketPath } from '../../../agent/peer/socket-path.ts';
import { bindUnixSocket, listenerAt } from '../../../agent/peer/system/unix-socket.ts';
import { isRoot, Processes } from '../../support/processes.ts';

const processes = new Processes();
afterAll(() => processes.clean());
const starter = new URL('../../support/socket-starter.ts', import.meta.url);

function refusal(run: () => unknown): [string, string] {
  try {
    run();
  } catch (error) {
    if (isMayflyError(error)) return [error.code, error.message];
    throw error;
  }
  throw new Error('not refused');
}

describe('a socket path', () => {
  let directory: string;
  let path: string;
  const open: (() => void)[] = [];
  beforeEach(() => {
    directory = processes.directory();
    path = join(directory, 'api.sock');
  });
  afterEach(() => {
    for (const close of open.splice(0)) close();
  });

  const bind = (at = path, mode = 0o777): BoundSocket => {
    const bound = bindSocketPath(at, mode);
    open.push(() => {
      bound.remove();
      closeSync(bound.descriptor);
    });
    return bound;
  };
  const listen = async (at: string): Promise<Server> => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(at, resolve));
    open.push(() => server.close());
    return server;
  };

  test.each([0o777, 0o600])('is bound with mode %o whatever the umask, and removed with its lock', (mode) => {
    const umask = process.umask(0o077);
    try {
      const bound = bind(path, mode);
      expect(statSync(path).mode & 0o7777).toBe(mode);
      expect(lstatSync(path).isSocket()).toBe(true);
      bound.remove();
      bound.remove();
      expect(readdirSync(directory)).toEqual([]);
    } finally {
      process.umask(umask);
    }
  });

  test('never has more than its mode: it is made with it, not given it afterwards', () => {
    const umask = process.umask(0);
    try {
      closeSync(bindUnixSocket(path, 0o600));
      expect(statSync(path).mode & 0o7777).toBe(0o600);
    } finally {
      process.umask(umask);
    }
  });

  test('of 107 bytes is bound, of 108 refused', () => {
    const name = (bytes: number) => join(directory, 'x'.repeat(bytes - directory.length - 1));
    bind(name(107));
    expect(lstatSync(name(107)).isSocket()).toBe(true);
    expect(refusal(() => bind(name(108)))).toEqual([
      'INVALID_CONFIG',
      `socket path ${name(108)} has 108 bytes, and the kernel takes at most 107; choose a shorter one`,
    ]);
    const umlauts = join(directory, 'ä'.repeat(50));
    expect(refusal(() => bind(umlauts))[0]).toBe('INVALID_CONFIG');
  });

  test.each(['', 'relative.sock', '/tmp/a\0b', '/tmp/'])('%j is refused', (bad) => {
    expect(refusal(() => bind(bad))).toEqual([
      'INVALID_CONFIG',
      `socket path ${JSON.stringify(bad)} is no absolute path of a file`,
    ]);
  });

  test('gets its directory, open to all who are to connect', () => {
    const umask = process.umask(0o077);
    try {
      bind(join(directory, 'a/b/api.sock'));
    } finally {
      process.umask(umask);
    }
    expect(statSync(join(directory, 'a')).mode & 0o7777).toBe(0o755);
    expect(statSync(join(directory, 'a/b')).mode & 0o7777).toBe(0o755);
    expect(statSync(directory).mode & 0o7777).toBe(0o700);
  });

  test('in a directory that others may write to is refused', () => {
    const shared = join(directory, 'shared');
    mkdirSync(shared);
    chmodSync(shared, 0o777);
    const advice = "the socket needs a directory that only root and the agent's user control";
    expect(refusal(() => bind(join(shared, 's')))).toEqual([
      'SOCKET_UNSAFE',
      `${shared} can be written to by everybody (mode 0777); ${advice}`,
    ]);
    expect(refusal(() => bind(join(shared, 'below/s')))[0]).toBe('SOCKET_UNSAFE');
    expect(existsSync(join(shared, 's'))).toBe(false);
    chmodSync(shared, 0o1777);
    bind(join(shared, 's'));
  });

  test.skipIf(!isRoot)('in a directory, or by a link, of another user or his group is refused (needs root)', () => {
    const foreign = join(directory, 'foreign');
    mkdirSync(foreign);
    chownSync(foreign, 65534, 65534);
    expect(refusal(() => bind(join(foreign, 's')))).toEqual([
      'SOCKET_UNSAFE',
      expect.stringContaining(`${foreign} belongs to uid 65534, who can put another socket there; `),
    ]);
    chownSync(foreign, 0, 65534);
    chmodSync(foreign, 0o775);
    expect(refusal(() => bind(join(foreign, 's')))[1]).toContain('can be written to by group 65534 (mode 0775)');
    chmodSync(foreign, 0o755);
    bind(join(foreign, 's'));
    const real = join(directory, 'real');
    mkdirSync(real);
    const { lchownSync } = process.getBuiltinModule('node:fs');
    const link = join(directory, 'link');
    symlinkSync(real, link);
    bind(join(link, 'fine'));
    lchownSync(link, 65534, 65534);
    expect(refusal(() => bind(join(link, 's')))[1]).toContain(`${link} is a symbolic link of uid 65534`);
  });

  test('under a file is refused', () => {
    writeFileSync(join(directory, 'file'), '');
    expect(refusal(() => bind(join(directory, 'file/s')))[0]).toBe('SOCKET_UNSAFE');
    expect(refusal(() => bind(join(directory, 'file/below/s')))[0]).toBe('SOCKET_UNSAFE');
  });

  test('of what is no socket is refused, and the file stays', () => {
    writeFileSync(path, 'precious');
    expect(refusal(() => bind())).toEqual([
      'SOCKET_UNSAFE',
      `${path} is there and is no socket; remove it or choose another path`,
    ]);
    expect(statSync(path).size).toBe(8);
    expect(readdirSync(directory)).toEqual(['api.sock']);
  });

  test('that a crash left behind is bound again', async () => {
    const crashed = await processes.script(starter, [path]);
    expect(await crashed.line()).toBe('ready');
    expect(await crashed.line()).toBe('listening');
    await crashed.kill();
    expect(readdirSync(directory).toSorted()).toEqual(['api.sock', 'api.sock.lock']);
    const bound = bindSocketPath(path, 0o777);
    const server = createServer();
    open.push(() => server.close());
    await new Promise<void>((resolve) => server.listen({ fd: bound.descriptor }, resolve));
    expect(listenerAt(path)).toEqual({ pid: process.pid });
    bound.remove();
    expect(readdirSync(directory)).toEqual([]);
  });

  test('where another program listens is refused by its pid, and stays its', async () => {
    await listen(path);
    const { ino } = lstatSync(path);
    expect(refusal(() => bind())).toEqual([
      'SOCKET_IN_USE',
      `process ${process.pid} holds the socket ${path}; stop it, or choose another path`,
    ]);
    expect(lstatSync(path).ino).toBe(ino);
    expect(readdirSync(directory)).toEqual(['api.sock']);
  });

  test('where an agent listens is refused by its pid', async () => {
    const agent = await processes.script(starter, [path]);
    await agent.line();
    expect(await agent.line()).toBe('listening');
    expect(refusal(() => bind())).toEqual([
      'SOCKET_IN_USE',
      `process ${agent.pid} holds the socket ${path}; stop it, or choose another path`,
    ]);
  });

  test('where an agent is bound and does not listen yet is refused too', () => {
    bind();
    expect(refusal(() => bindSocketPath(path, 0o777))).toEqual([
      'SOCKET_IN_USE',
      `another process holds the socket ${path}; stop it, or choose another path`,
    ]);
  });

  test('that six starters want at once goes to one of them, stale file or not', async () => {
    const stale = await processes.script(starter, [path]);
    await stale.line();
    await stale.line();
    await stale.kill();
    const at = String(Date.now() + 1200);
    const starters = await Promise.all(Array.from({ length: 6 }, () => processes.script(starter, [path, at])));
    await Promise.all(starters.map((child) => child.line()));
    const results = await Promise.all(starters.map((child) => child.line()));
    expect(results.toSorted()).toEqual([...Array(5).fill('SOCKET_IN_USE'), 'listening']);
    expect(lstatSync(path).isSocket()).toBe(true);
  });

  test('is not removed when it is another’s by now', () => {
    const bound = bind();
    unlinkSync(path);
    writeFileSync(path, 'somebody else’s');
    bound.remove();
    expect(statSync(path).isFile()).toBe(true);
  });

  test('whose directory is gone is closed all the same', () => {
    const bound = bind(join(directory, 'sub/s'));
    renameSync(join(directory, 'sub'), join(directory, 'moved'));
    bound.remove();
    expect(existsSync(join(directory, 'moved/s'))).toBe(true);
  });

  test('whose lock somebody else has made is refused', () => {
    symlinkSync('/etc/passwd', `${path}.lock`);
    expect(refusal(() => bind())).toEqual(['SOCKET_UNSAFE', `${path}.lock was not made by the agent; remove it`]);
    expect(existsSync(path)).toBe(false);
  });

  test.skipIf(!isRoot)('without the permission is refused with what to do (needs root)', async () => {
    const closed = join(processes.directory(), 'closed');
    mkdirSync(closed);
    chmodSync(dirname(closed), 0o755);
    const child = await processes.script(starter, [join(closed, 's')], { uid: 65534, gid: 65534 });
    await child.line();
    expect(await child.line()).toBe('PERMISSION_MISSING');
    const made = await processes.script(starter, [join(closed, 'sub/s')], { uid: 65534, gid: 65534 });
    await made.line();
    expect(await made.line()).toBe('PERMISSION_MISSING');
    expect(readdirSync(closed)).toEqual([]);
  });
});
