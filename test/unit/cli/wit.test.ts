import { createPrivateKey } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MayflyError } from '../../../agent/kernel/errors.ts';
import { CannedAgent, newSvid, newWit } from './canned-agent.ts';
import type { Transcript } from './transcript.ts';
import { jsonOf, run, start } from './transcript.ts';

const PAYMENTS = 'spiffe://example.org/payments';

let agent: CannedAgent;
let directory: string;

beforeEach(async () => {
  agent = await CannedAgent.start();
  directory = join(agent.directory, 'wit');
});

afterEach(() => agent[Symbol.asyncDispose]());

function surroundings() {
  return { env: { SPIFFE_ENDPOINT_SOCKET: `unix://${agent.socket}` }, cwd: agent.directory };
}

function mayfly(argv: readonly string[], stdin = ''): Promise<Transcript> {
  return run(argv, { ...surroundings(), stdin });
}

function secretOf({ witSvidKey }: { readonly witSvidKey: string }): string {
  return (JSON.parse(witSvidKey) as { d: string }).d;
}

function filesIn(): { readonly token: string; readonly key: string } {
  return {
    token: readFileSync(join(directory, 'wit_svid.jwt'), 'utf8').trim(),
    key: readFileSync(join(directory, 'wit_svid_key.jwk'), 'utf8').trim(),
  };
}

describe('fetch wit', () => {
  test('shows who one is, until when and with which key, and the token on a line of its own; never the key', async () => {
    const svid = await newWit({ hint: 'internal' });
    agent.wit.set({ svids: [svid] });
    const { code, stdout, stderr } = await mayfly(['fetch', 'wit']);
    expect(code).toBe(0);
    const [id, jti, until, key, hint, token, end] = stdout.split('\n');
    expect([id, jti, hint, token, end]).toEqual([
      PAYMENTS,
      '  id           wit-1',
      '  hint         internal',
      svid.witSvid,
      '',
    ]);
    expect(until).toMatch(/^ {2}valid until {2}[\d-]+ [\d:]+Z \(59m5\ds left\)$/);
    expect(key).toMatch(/^ {2}key {10}ES256 [\w-]{43}$/);
    expect(stderr).toBe('mayfly: this identity belongs to this process, which ends now; keep one with --hold\n');
    expect(stdout + stderr).not.toContain(secretOf(svid));
    expect(agent.headers).toEqual([['true']]);
  });

  test('says all of it as JSON, and no private key', async () => {
    const svids = [await newWit(), await newWit({ id: 'spiffe://example.org/b', jti: 'wit-2' })];
    agent.wit.set({ svids });
    const { stdout, stderr } = await mayfly(['fetch', 'wit', '--json']);
    expect(jsonOf(stdout)).toEqual({
      svids: svids.map(({ spiffeId, witSvid }) => ({
        spiffe_id: spiffeId,
        hint: '',
        jti: decodeJwt(witSvid).jti,
        issued_at: expect.stringMatching(/Z$/),
        expires_at: expect.stringMatching(/Z$/),
        key: { alg: 'ES256', thumbprint: expect.stringMatching(/^[\w-]{43}$/) },
        token: witSvid,
      })),
    });
    for (const svid of svids) expect(stdout + stderr).not.toContain(secretOf(svid));
  });

  test('--write puts token and key of the first into files for their owner alone', async () => {
    const svid = await newWit();
    agent.wit.set({ svids: [svid, await newWit({ id: 'spiffe://example.org/b' })] });
    const { code, stdout, stderr } = await mayfly(['fetch', 'wit', '--write', directory]);
    expect(code).toBe(0);
    expect(filesIn()).toEqual({ token: svid.witSvid, key: svid.witSvidKey });
    const jwk = JSON.parse(filesIn().key) as Record<string, string>;
    expect(createPrivateKey({ key: jwk, format: 'jwk' }).asymmetricKeyType).toBe('ec');
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    for (const name of ['wit_svid.jwt', 'wit_svid_key.jwk']) {
      expect(statSync(join(directory, name)).mode & 0o777).toBe(0o600);
    }
    expect(stderr).toContain(`of ${PAYMENTS}, the first of 2 identities, are in ${directory}\n`);
    expect(stdout + stderr).not.toContain(secretOf(svid));
  });

  test('--write leaves the files of an X.509-SVID in the same directory as they are, and they leave these', async () => {
    agent.x509.set({ svids: [await newSvid()] });
    agent.wit.set({ svids: [await newWit()] });
    for (const kind of ['x509', 'wit', 'x509']) {
      expect((await mayfly(['fetch', kind, '--write', directory])).code).toBe(0);
    }
    expect(readdirSync(directory).filter((name) => !name.startsWith('..'))).toEqual([
      'bundle.pem',
      'key.pem',
      'svid.pem',
      'wit_svid.jwt',
      'wit_svid_key.jwk',
    ]);
    expect(readFileSync(join(directory, 'svid.pem'), 'utf8')).toContain('BEGIN CERTIFICATE');
    expect(filesIn().token).toMatch(/^ey/);
  });

  test.each([
    ['a key that the token does not confirm', async () => (await newWit()).witSvidKey],
    ['a key that is none', async () => '{"d":"s3cret'],
    ['no key', async () => ''],
  ])('%s writes nothing, and is not shown', async (_, key) => {
    const witSvidKey = await key();
    agent.wit.set({ svids: [{ ...(await newWit()), witSvidKey }] });
    const { code, stdout, stderr } = await mayfly(['fetch', 'wit', '--write', directory]);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toBe('mayfly: the agent sent something that is no WIT-SVID with its key; look at its log\n');
    expect(existsSync(join(directory, 'wit_svid_key.jwk'))).toBe(false);
  });

  test('--hold keeps the files fresh, and removes them when the identity is withdrawn and at the end', async () => {
    const first = await newWit();
    agent.wit.set({ svids: [first] });
    const command = start(['fetch', 'wit', '--hold', '--write', directory], surroundings());
    await command.terminal.until(({ out }) => out.includes(first.witSvid));
    expect(filesIn().key).toBe(first.witSvidKey);
    const second = await newWit({ jti: 'wit-2' });
    agent.wit.set({ svids: [second] });
    await command.terminal.until(({ out }) => out.includes(second.witSvid));
    expect(filesIn()).toEqual({ token: second.witSvid, key: second.witSvidKey });
    expect(command.terminal.interruptions).toBe(1);
    const { code, stdout, stderr } = await command.interrupt();
    expect(code).toBe(0);
    expect(readdirSync(directory)).toEqual([]);
    for (const svid of [first, second]) expect(stdout + stderr).not.toContain(secretOf(svid));
  });

  test('--hold has no files of an identity that it has lost', async () => {
    agent.wit.set({ svids: [await newWit()] });
    const command = start(['fetch', 'wit', '--hold', '--write', directory], surroundings());
    await command.terminal.until(({ out }) => out.includes(PAYMENTS));
    agent.wit.end(new MayflyError('NO_IDENTITY', 'gone'));
    await command.terminal.until(({ err }) => err.includes('asking again until there is an answer'));
    expect(existsSync(join(directory, 'wit_svid_key.jwk'))).toBe(false);
    expect((await command.interrupt()).code).toBe(0);
  });

  test('an agent that has none says so', async () => {
    const { code, stderr } = await mayfly(['fetch', 'wit']);
    expect(code).toBe(1);
    expect(stderr).toBe(
      `mayfly: the agent at ${agent.socket} does not offer this: the WIT-SVID profile is switched off\n`,
    );
  });
});

describe('bundle show', () => {
  test('shows WIT keys beside the others', async () => {
    agent.wit.set({ svids: [await newWit()] });
    const { code, stdout } = await mayfly(['bundle', 'show']);
    expect(code).toBe(0);
    expect(stdout.split('\n').slice(2, 4)).toEqual(['  JWT    key-1, EC P-256', '  WIT    key-2, EC P-256']);
    const wit = await mayfly(['bundle', 'show', '--wit', '--json']);
    expect(jsonOf(wit.stdout)).toEqual({
      wit: { 'spiffe://example.org': { keys: [expect.objectContaining({ kid: 'key-2', use: 'wit-svid' })] } },
    });
    const two = await mayfly(['bundle', 'show', '--wit', '--jwt', '--json']);
    expect(Object.keys(jsonOf(two.stdout) as object)).toEqual(['jwt', 'wit']);
  });

  test('are shown without WIT keys by an agent that has none, unless those were asked for', async () => {
    const all = await mayfly(['bundle', 'show']);
    expect([all.code, all.stderr]).toEqual([0, '']);
    expect(all.stdout).not.toContain('WIT');
    const wit = await mayfly(['bundle', 'show', '--wit']);
    expect([wit.code, wit.stdout]).toEqual([1, '']);
    expect(wit.stderr).toContain('does not offer this: the WIT-SVID profile is switched off');
  });
});

describe('validate --wit', () => {
  test('says whose it is, and what must still be proven', async () => {
    const file = join(agent.directory, 'token');
    writeFileSync(file, 'good.to.ken\n');
    const { code, stdout, stderr } = await mayfly(['validate', '--wit', '--token', file]);
    expect(code).toBe(0);
    expect(stdout.split('\n')[0]).toBe(PAYMENTS);
    expect(stdout).toContain('  cnf  {"jwk":{"alg":"ES256"}}\n');
    expect(stderr).toBe(
      'mayfly: whoever presents it must prove in each request that the key in cnf is theirs: the token alone proves nothing\n',
    );
    expect(agent.headers).toEqual([['true']]);
    const json = await mayfly(['validate', '--wit', '--json'], 'good.to.ken');
    expect(jsonOf(json.stdout)).toMatchObject({ spiffe_id: PAYMENTS, claims: { cnf: { jwk: { alg: 'ES256' } } } });
  });

  test('refuses what does not hold, with the reason', async () => {
    const { code, stdout, stderr } = await mayfly(['validate', '--wit', '--json'], 'bad.to.ken');
    expect([code, stdout]).toEqual([1, '']);
    expect(jsonOf(stderr)).toEqual({
      error: { code: 'TOKEN_INVALID', message: 'the token does not validate, do not trust it: token has no cnf' },
    });
  });

  test('takes no audience', async () => {
    const { code, stderr } = await mayfly(['validate', '--wit', '--audience', 'a'], 'good.to.ken');
    expect(code).toBe(2);
    expect(stderr).toContain('a WIT-SVID is for no audience');
    expect(agent.headers).toEqual([]);
  });
});
