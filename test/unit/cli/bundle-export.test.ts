import { randomBytes } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeRoot, makeTokenKey } from '../../../agent/authority/keys.ts';
import { parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import { formatBundle, parseBundle } from '../../../agent/svid/bundle-json.ts';
import { CannedAgent } from './canned-agent.ts';
import { jsonOf, run, start } from './transcript.ts';

const trustDomain = parseTrustDomain('example.org');
const terms = { trustDomain, keyType: 'ec-p256', now: Date.now(), random: randomBytes } as const;
const HOUR = 3_600_000;
const { certificate } = makeRoot(terms, HOUR);
const { id, jwk } = makeTokenKey(terms, HOUR);

let agent: CannedAgent;
let file: string;

beforeEach(async () => {
  agent = await CannedAgent.start();
  agent.bundle.set({ trustDomain, bundle: bundle(4) });
  file = join(agent.directory, 'example.org.json');
});

afterEach(() => agent[Symbol.asyncDispose]());

function bundle(sequence: number): string {
  return formatBundle({
    trustDomain,
    x509Authorities: [certificate],
    witAuthorities: [],
    jwtAuthorities: [{ kid: id, jwk: { ...jwk, kid: id }, expiresAt: undefined }],
    sequence,
    refreshHint: 60,
  });
}

const surroundings = () => ({ env: { SPIFFE_ENDPOINT_SOCKET: `unix://${agent.socket}` }, cwd: agent.directory });
const exported = (...options: string[]) => run(['bundle', 'export', ...options], surroundings());

test('prints what others parse, the same with --json on one line', async () => {
  expect(await exported()).toEqual({ code: 0, stdout: bundle(4), stderr: '' });
  const { stdout } = await exported('--json');
  expect(jsonOf(stdout)).toEqual(JSON.parse(bundle(4)));
});

test('--write replaces a file whole, and leaves nothing else', async () => {
  writeFileSync(file, 'what was there', { mode: 0o600 });
  const before = readdirSync(agent.directory);
  expect(await exported('--write', 'example.org.json')).toEqual({
    code: 0,
    stdout: `example.org, sequence 4, X.509 roots 1, JWT keys 1, WIT keys 0: written to ${file}\n`,
    stderr: '',
  });
  expect(parseBundle(trustDomain, readFileSync(file, 'utf8'))).toMatchObject({ sequence: 4, refreshHint: 60 });
  expect(statSync(file).mode & 0o777).toBe(0o644);
  expect(readdirSync(agent.directory)).toEqual(before);
  expect(jsonOf((await exported('--write', file, '--json')).stdout)).toEqual({
    trust_domain: 'example.org',
    spiffe_sequence: 4,
    spiffe_refresh_hint: 60,
    file,
  });
});

test('--write keeps a link, and replaces what it leads to', async () => {
  const link = join(agent.directory, 'link.json');
  writeFileSync(file, '');
  symlinkSync('example.org.json', link);
  expect((await exported('--write', link)).code).toBe(0);
  expect(lstatSync(link).isSymbolicLink()).toBe(true);
  expect(readFileSync(file, 'utf8')).toBe(bundle(4));
});

test('--write replaces nothing that is no file, and says where it cannot', async () => {
  const directory = join(agent.directory, 'directory');
  mkdirSync(directory);
  expect(await exported('--write', directory)).toEqual({
    code: 2,
    stdout: '',
    stderr: `mayfly: ${directory} is no file, and stays as it is; name a file\n`,
  });
  expect(statSync(directory).isDirectory()).toBe(true);
  for (const follow of [[], ['--follow']]) {
    const { code, stderr } = await exported('--write', 'missing/example.org.json', ...follow);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^mayfly: .*missing\/example\.org\.json cannot be written, name a file in a folder of your own: ENOENT/,
    );
  }
});

test('--follow without a file is wrong usage', async () => {
  const { code, stderr } = await exported('--follow');
  expect(code).toBe(2);
  expect(stderr).toContain('name the file with --write FILE');
});

test('--follow replaces the file at each change, over restarts of the agent, and leaves it', async () => {
  const command = start(['bundle', 'export', '--write', file, '--follow'], surroundings());
  await command.terminal.until(({ out }) => out.includes('sequence 4,'));
  agent.bundle.set({ trustDomain, bundle: bundle(5) });
  await command.terminal.until(({ out }) => out.includes('sequence 5,'));
  expect(readFileSync(file, 'utf8')).toBe(bundle(5));

  const { directory } = agent;
  await agent.stop();
  await command.terminal.until(({ err }) => err.includes('; the file stays as it is, trying again'));
  expect(readFileSync(file, 'utf8')).toBe(bundle(5));
  const next = await CannedAgent.start(directory);
  next.bundle.set({ trustDomain, bundle: bundle(6) });
  await command.terminal.until(({ out }) => out.includes('sequence 6,'));
  expect(readFileSync(file, 'utf8')).toBe(bundle(6));

  expect((await command.interrupt()).code).toBe(0);
  expect(readFileSync(file, 'utf8')).toBe(bundle(6));
  await next.stop();
});

test('--follow writes nothing that is no bundle', async () => {
  writeFileSync(file, 'what was there');
  const command = start(['bundle', 'export', '--write', file, '--follow'], surroundings());
  await command.terminal.until(({ out }) => out.includes('sequence 4,'));
  agent.bundle.set({ trustDomain, bundle: '{}' });
  await command.terminal.until(({ err }) => err.includes('has no list "keys"'));
  expect(readFileSync(file, 'utf8')).toBe(bundle(4));
  await command.interrupt();
});
