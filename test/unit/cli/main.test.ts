import type { ChildProcessByStdio } from 'node:child_process';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CannedAgent, newSvid } from './canned-agent.ts';
import { jsonOf } from './transcript.ts';

const MAIN = fileURLToPath(new URL('../../../agent/bin.js', import.meta.url));

let agent: CannedAgent;
let children: ChildProcessByStdio<null, Readable, Readable>[];

beforeEach(async () => {
  agent = await CannedAgent.start();
  agent.x509.set({ svids: [await newSvid()] });
  children = [];
});

afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  await agent[Symbol.asyncDispose]();
});

/** The real program in a process of its own. */
function mayfly(...argv: string[]) {
  const env = { ...process.env, SPIFFE_ENDPOINT_SOCKET: `unix://${agent.socket}` };
  const child = spawn(process.execPath, [MAIN, ...argv], {
    env,
    cwd: agent.directory,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  const said = { out: '', err: '' };
  child.stdout.on('data', (text) => {
    said.out += String(text);
  });
  child.stderr.on('data', (text) => {
    said.err += String(text);
  });
  return { child, said, exit: once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]> };
}

test('exit codes, results and errors go where they belong', async () => {
  const [good, bad, wrong] = [
    mayfly('fetch', 'x509', '--json'),
    mayfly('status', '--admin-socket', '/nonexistent/a.sock'),
    mayfly('fetch', 'x509', '--frob'),
  ];
  expect(await good.exit).toEqual([0, null]);
  expect(jsonOf(good.said.out)).toMatchObject({ svids: [{ spiffe_id: 'spiffe://example.org/payments' }] });
  expect(await bad.exit).toEqual([1, null]);
  expect(bad.said.out).toBe('');
  expect(bad.said.err).toContain('no agent is running at /nonexistent/a.sock');
  expect(await wrong.exit).toEqual([2, null]);
  expect(wrong.said.err).toBe("mayfly: unknown option '--frob'; see mayfly fetch x509 --help\n");
});

test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
  '%s, even twice, ends a watch in order: its files are gone',
  async (signal) => {
    const directory = join(agent.directory, 'svid');
    const { child, exit, said } = mayfly('watch', '--write', directory);
    await once(child.stdout, 'data');
    expect(statSync(join(directory, 'key.pem')).mode & 0o777).toBe(0o600);
    child.kill(signal);
    child.kill(signal);
    expect(await exit).toEqual([0, null]);
    expect(existsSync(join(directory, 'key.pem'))).toBe(false);
    expect(said.err).toBe('');
  },
);

test('a watch ends in order when nobody reads it any more', async () => {
  const directory = join(agent.directory, 'svid');
  const { child, exit } = mayfly('watch', '--write', directory);
  await once(child.stdout, 'data');
  child.stdout.destroy();
  agent.x509.set({ svids: [await newSvid()] });
  expect(await exit).toEqual([0, null]);
  expect(existsSync(join(directory, 'key.pem'))).toBe(false);
});

test('what cannot be printed is an error', async () => {
  const message =
    'what this prints cannot be written, send it elsewhere or make room: ENOSPC: no space left on device, write';
  const full = openSync('/dev/full', 'w');
  const run = (...argv: string[]) =>
    spawnSync(process.execPath, [MAIN, ...argv, '--socket', agent.socket], {
      cwd: agent.directory,
      stdio: ['ignore', full, 'pipe'],
      encoding: 'utf8',
    });
  expect(run('version')).toMatchObject({ status: 1, stderr: `mayfly: ${message}\n` });
  const { status, stderr } = run('version', '--json');
  expect(status).toBe(1);
  expect(jsonOf(stderr)).toEqual({ error: { code: 'DISK_FULL', message } });
  closeSync(full);
});

test('a watch lives on while there is no agent', async () => {
  await agent.stop();
  const { child, exit, said } = mayfly('watch');
  await once(child.stderr, 'data');
  expect(said.err).toContain('no agent is running');
  expect(child.exitCode).toBe(null);
  // Longer than to the second attempt: nothing but the wait keeps it alive.
  await new Promise((resolve) => setTimeout(resolve, 800));
  expect(child.exitCode).toBe(null);
  child.kill('SIGTERM');
  expect(await exit).toEqual([0, null]);
});
