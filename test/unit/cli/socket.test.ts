import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { GlobalOptions } from '../../../agent/cli/invocation.ts';
import { findAdminSocket, findSocket } from '../../../agent/cli/socket.ts';
import { isMayflyError } from '../../../agent/kernel/errors.ts';

const QUICKSTART = { socket: '/q/api.sock', admin_socket: '/q/admin.sock' };
let cwd: string;

beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'mayfly-socket-'));
});

afterEach(() => rmSync(cwd, { recursive: true }));

function found(options: GlobalOptions, env: Record<string, string> = {}) {
  return findSocket(options, { env, cwd });
}

function refused(run: () => unknown): { code: string; message: string } {
  try {
    run();
  } catch (error) {
    if (isMayflyError(error)) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error('nothing was refused');
}

function writeQuickstart(text = JSON.stringify(QUICKSTART)): string {
  const file = join(cwd, '.mayfly', 'endpoint.json');
  mkdirSync(join(cwd, '.mayfly'));
  writeFileSync(file, text, { mode: 0o600 });
  return file;
}

describe('the API socket', () => {
  test('is what --socket says before all else', () => {
    const file = writeQuickstart();
    const env = { SPIFFE_ENDPOINT_SOCKET: 'unix:///e/api.sock' };
    expect(found({ socket: '/s/api.sock' }, env)).toEqual({ kind: 'api', path: '/s/api.sock', from: '--socket' });
    expect(found({}, env)).toEqual({ kind: 'api', path: '/e/api.sock', from: 'SPIFFE_ENDPOINT_SOCKET' });
    expect(found({}, { SPIFFE_ENDPOINT_SOCKET: '' })).toEqual({ kind: 'api', path: '/q/api.sock', from: file });
  });

  test('may be a relative path or an address in --socket', () => {
    expect(found({ socket: 'a/b.sock' }).path).toBe(join(cwd, 'a/b.sock'));
    expect(found({ socket: 'unix:///a%20b/c.sock' }).path).toBe('/a b/c.sock');
    expect(found({ socket: 'unix:/a/b.sock' }).path).toBe('/a/b.sock');
  });

  test.each([
    ['tcp://127.0.0.1:8080', 'names a TCP address'],
    ['/run/api.sock', 'has no scheme unix'],
    ['unix://host/run/api.sock', 'has no absolute path, or a host before it'],
    ['unix:run/api.sock', 'has no absolute path, or a host before it'],
    ['unix://', 'has no absolute path, or a host before it'],
    ['unix:///run/api.sock?a=b', 'has a query or a fragment'],
    ['unix:///run/api.sock#a', 'has a query or a fragment'],
    ['unix:///run/%zz.sock', 'has a % that starts no percent-encoded byte'],
  ])('is not at %s', (address, problem) => {
    const { code, message } = refused(() => found({}, { SPIFFE_ENDPOINT_SOCKET: address }));
    expect(code).toBe('INVALID_USAGE');
    expect(message).toContain(`SPIFFE_ENDPOINT_SOCKET ${problem}`);
    expect(message).toContain('write unix:///absolute/path');
  });

  test('of a quickstart that somebody else can write is refused', () => {
    const file = writeQuickstart();
    chmodSync(file, 0o666);
    expect(refused(() => found({}))).toEqual({
      code: 'SOCKET_UNSAFE',
      message: `${file} can be written by somebody else; name the socket that you mean with --socket PATH`,
    });
  });

  test.runIf(process.getuid?.() === 0)('of the quickstart of another user is refused (needs root)', () => {
    chownSync(writeQuickstart(), 12_345, 12_345);
    expect(refused(() => found({})).code).toBe('SOCKET_UNSAFE');
  });

  test.each(['', '{}', '[]', 'null', '{"socket":"relative"}'])('is not in a quickstart file that says %s', (text) => {
    writeQuickstart(text);
    const { code, message } = refused(() => found({}));
    expect(code).toBe('AGENT_UNREACHABLE');
    expect(message).toContain('names no socket: start the quickstart again');
  });

  test('that is nowhere is told with what to do', () => {
    const { code, message } = refused(() => found({}));
    expect(code).toBe('AGENT_UNREACHABLE');
    expect(message).toBe(
      "no agent is running here: start one with 'npm start', or with 'mayfly run --config FILE', or name its socket with --socket PATH",
    );
  });
});

describe('the admin socket', () => {
  function admin(options: GlobalOptions, env: Record<string, string> = {}) {
    return findAdminSocket(options, { env, cwd });
  }

  test('is what --admin-socket says, then beside a named API socket, then the quickstart’s', () => {
    const file = writeQuickstart();
    writeFileSync(join(cwd, 'admin.sock'), '');
    const env = { SPIFFE_ENDPOINT_SOCKET: `unix://${cwd}/api.sock` };
    expect(admin({ adminSocket: '/a.sock' }, env)).toEqual({ kind: 'admin', path: '/a.sock', from: '--admin-socket' });
    const beside = { kind: 'admin', path: join(cwd, 'admin.sock'), from: 'beside SPIFFE_ENDPOINT_SOCKET' };
    expect(admin({}, env)).toEqual(beside);
    expect(admin({})).toEqual({ kind: 'admin', path: '/q/admin.sock', from: file });
    rmSync(join(cwd, 'admin.sock'));
    expect(admin({}, env).path).toBe('/q/admin.sock');
  });

  test('is no other agent’s than that which --socket names', () => {
    writeQuickstart();
    const env = { MAYFLY_ADMIN_SOCKET: '/env/admin.sock' };
    expect(refused(() => admin({ socket: join(cwd, 'api.sock') }, env))).toEqual({
      code: 'AGENT_UNREACHABLE',
      message: `no admin socket is at ${cwd}/admin.sock, beside the one that --socket names; start that agent, or name its admin socket with --admin-socket PATH`,
    });
  });

  test('is what MAYFLY_ADMIN_SOCKET says where no --socket names another agent', () => {
    writeFileSync(join(cwd, 'admin.sock'), '');
    const env = { SPIFFE_ENDPOINT_SOCKET: `unix://${cwd}/api.sock`, MAYFLY_ADMIN_SOCKET: '/env/admin.sock' };
    expect(admin({}, env)).toEqual({ kind: 'admin', path: '/env/admin.sock', from: 'MAYFLY_ADMIN_SOCKET' });
    expect(admin({ socket: join(cwd, 'api.sock') }, env)).toMatchObject({ from: 'beside --socket' });
    expect(admin({ adminSocket: '/a.sock' }, env).from).toBe('--admin-socket');
  });

  test('that is nowhere is told with what to do', () => {
    expect(refused(() => admin({})).message).toContain('name the socket with --admin-socket PATH');
  });
});
