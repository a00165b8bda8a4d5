import { createPrivateKey, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MayflyError } from '../../../agent/kernel/errors.ts';
import { HAS_OPENSSL, openssl } from '../../support/openssl.ts';
import { CannedAgent, FOREIGN_ROOT, newSvid } from './canned-agent.ts';
import type { Transcript } from './transcript.ts';
import { jsonOf, run } from './transcript.ts';

let agent: CannedAgent;

beforeEach(async () => {
  agent = await CannedAgent.start();
});

afterEach(() => agent[Symbol.asyncDispose]());

/** Runs a command as somebody whose environment names the agent. */
function mayfly(argv: readonly string[], stdin = ''): Promise<Transcript> {
  return run(argv, { env: { SPIFFE_ENDPOINT_SOCKET: `unix://${agent.socket}` }, stdin });
}

const DATE = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ`;

describe('fetch x509', () => {
  test('shows who one is, until when, and who says so', async () => {
    agent.x509.set({
      svids: [await newSvid({ hint: 'internal', dnsNames: ['payments.internal'] })],
      federatedBundles: { 'spiffe://other.org': FOREIGN_ROOT },
    });
    const { code, stdout, stderr } = await mayfly(['fetch', 'x509']);
    expect(code).toBe(0);
    const lines = stdout.split('\n');
    const expected = [
      /^spiffe:\/\/example\.org\/payments$/,
      /^ {2}serial {7}4d[0-9a-f]{32}$/,
      new RegExp(`^ {2}valid from {3}${DATE}$`),
      new RegExp(String.raw`^ {2}valid until {2}${DATE} \(59m5\ds left\)$`),
      /^ {2}key {10}EC prime256v1$/,
      /^ {2}hint {9}internal$/,
      /^ {2}DNS names {4}payments\.internal$/,
      /^ {2}chain {8}O=Mayfly, CN=payments\.internal < O=Mayfly, CN=issuing CA [0-9a-f]{16}$/,
      new RegExp(String.raw`^ {2}signed by {4}O=Mayfly, CN=issuing CA [0-9a-f]{16}, until ${DATE} \(.* left\)$`),
      new RegExp(String.raw`^ {2}root {9}O=Mayfly, CN=root [0-9a-f]{16}, until ${DATE} \(.* left\)$`),
      /^federated with spiffe:\/\/other\.org$/,
      /^$/,
    ];
    expect(lines).toHaveLength(expected.length);
    for (const [index, pattern] of expected.entries()) expect(lines[index]).toMatch(pattern);
    expect(stderr).toBe(
      "mayfly: this identity belongs to this process, which ends now; keep one with --hold, or with 'mayfly watch --write DIR'\n",
    );
    expect(agent.headers).toEqual([['true']]);
  });

  test('says all of it as JSON, and no private key', async () => {
    const svid = await newSvid({ dnsNames: ['a.internal', 'b.internal'] });
    const key = createPrivateKey({ key: svid.x509SvidKey, format: 'der', type: 'pkcs8' });
    const secret = key.export({ format: 'jwk' }).d ?? '';
    agent.x509.set({ svids: [svid, await newSvid({ id: 'spiffe://example.org/b' })] });
    const { code, stdout, stderr } = await mayfly(['fetch', 'x509', '--json']);
    expect(code).toBe(0);
    const { svids, federated_bundles, crls } = jsonOf(stdout) as Record<string, Record<string, never>[]>;
    expect(svids).toHaveLength(2);
    expect(svids?.[0]).toMatchObject({
      spiffe_id: 'spiffe://example.org/payments',
      hint: '',
      key: 'EC prime256v1',
      dns_names: ['a.internal', 'b.internal'],
      issuer: { subject: expect.stringMatching(/^O=Mayfly, CN=issuing CA/) },
      root: { subject: expect.stringMatching(/^O=Mayfly, CN=root/) },
    });
    const chain = svids?.[0]?.['chain'] as unknown as string[];
    expect(chain).toHaveLength(2);
    expect(new X509Certificate(chain[0] ?? '').subjectAltName).toContain('URI:spiffe://example.org/payments');
    expect(federated_bundles).toEqual({});
    expect(crls).toEqual([]);
    expect(stdout + stderr).not.toContain('PRIVATE');
    expect(stdout).not.toContain(Buffer.from(secret, 'base64url').toString('base64').slice(0, 20));
    expect(jsonOf(stderr)).toEqual({ notice: { message: expect.stringContaining('belongs to this process') } });
  });

  test('says when no root of the bundle has signed the chain', async () => {
    agent.x509.set({ svids: [{ ...(await newSvid()), bundle: FOREIGN_ROOT }] });
    const { code, stdout } = await mayfly(['fetch', 'x509']);
    expect(code).toBe(0);
    expect(stdout).toContain('  root         none: no root of the bundle has signed this chain\n');
    expect(jsonOf((await mayfly(['fetch', 'x509', '--json'])).stdout)).toMatchObject({ svids: [{ root: null }] });
  });

  test('shows control characters of a hint by their number', async () => {
    agent.x509.set({ svids: [await newSvid({ hint: 'a\u001b[31m\u202eb' })] });
    const { stdout } = await mayfly(['fetch', 'x509']);
    expect(stdout).toContain(String.raw`hint         a\u001b[31m\u202eb`);
  });

  test('--write puts the first identity into files that verify', async () => {
    const svid = await newSvid();
    agent.x509.set({ svids: [svid, await newSvid({ id: 'spiffe://example.org/b' })] });
    const directory = join(agent.directory, 'svid');
    const { code, stderr } = await mayfly(['fetch', 'x509', '--write', directory]);
    expect(code).toBe(0);
    expect(stderr).toContain(
      `svid.pem, key.pem and bundle.pem of spiffe://example.org/payments, the first of 2 identities, are in ${directory}`,
    );
    const leaf = new X509Certificate(readFileSync(join(directory, 'svid.pem')));
    expect(leaf.subjectAltName).toBe('URI:spiffe://example.org/payments');
    expect(leaf.checkPrivateKey(createPrivateKey(readFileSync(join(directory, 'key.pem'))))).toBe(true);
    expect(statSync(join(directory, 'key.pem')).mode & 0o777).toBe(0o600);
    if (!HAS_OPENSSL) return;
    const [svidFile, bundleFile] = [join(directory, 'svid.pem'), join(directory, 'bundle.pem')];
    expect(openssl(['verify', '-CAfile', bundleFile, '-untrusted', svidFile, svidFile]).status).toBe(0);
  });

  test('--write writes nothing when the key is not the certificate’s', async () => {
    const { x509SvidKey } = await newSvid();
    agent.x509.set({ svids: [{ ...(await newSvid()), x509SvidKey }] });
    const directory = join(agent.directory, 'svid');
    const { code, stdout, stderr } = await mayfly(['fetch', 'x509', '--write', directory]);
    expect(code).toBe(1);
    expect(stderr).toBe("mayfly: the agent sent a private key that is not the certificate's; look at its log\n");
    expect(stdout).toBe('');
    expect(existsSync(join(directory, 'key.pem'))).toBe(false);
  });

  test.each([
    ['no identity', { svids: [] }, 'an update without an identity'],
    [
      'rubbish',
      { svids: [{ spiffeId: 'spiffe://a/b', x509Svid: Buffer.from('x') }] },
      'something that is no certificate',
    ],
    ['nothing', { svids: [{ spiffeId: 'spiffe://a/b' }] }, 'an identity without a certificate'],
  ])('refuses an agent that sends %s', async (_name, update, problem) => {
    agent.x509.set(update);
    const { code, stdout, stderr } = await mayfly(['fetch', 'x509', '--json']);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(jsonOf(stderr)).toEqual({
      error: { code: 'INTERNAL', message: `the agent sent ${problem}; look at its log` },
    });
  });
});

describe('what an agent refuses is said in a sentence with what to do', () => {
  test.each([
    [
      'NO_IDENTITY',
      'NO_IDENTITY',
      /^no identity issued: no entry matches this process \(unix:uid:\d+, unix:gid:\d+, unix:path:\/.*\), or it is refused what one gives; see 'mayfly entries' and, for the reason, 'mayfly audit tail'$/,
    ],
    ['SHUTTING_DOWN', 'SHUTTING_DOWN', /^the agent cannot do this: the agent is stopping; try again in a moment$/],
    ['ATTESTATION_FAILED', 'ATTESTATION_FAILED', /: workload attestation failed; try again in a moment$/],
    ['AUTHORITY_UNAVAILABLE', 'AUTHORITY_UNAVAILABLE', /: the authority cannot sign now; try again in a moment$/],
    ['OVER_LIMIT', 'OVER_LIMIT', /: said; try again in a moment$/],
    ['NOT_OFFERED', 'NOT_OFFERED', /^the agent at \/.* does not offer this: said$/],
    ['INVALID_REQUEST', 'INVALID_REQUEST', /^the agent cannot do this: said$/],
    ['SECURITY_HEADER_MISSING', 'INVALID_REQUEST', /: security header missing from request$/],
    ['INTERNAL', 'INTERNAL', /^the agent at \/.* failed, its log says why: internal error/],
  ] as const)('%s', async (thrown, code, message) => {
    agent.refusal = new MayflyError(thrown, 'said');
    for (const argv of [
      ['fetch', 'x509'],
      ['fetch', 'jwt', '--audience', 'a'],
      ['bundle', 'show'],
    ]) {
      const told = await mayfly([...argv, '--json']);
      expect(told.code).toBe(1);
      expect(told.stdout).toBe('');
      expect(jsonOf(told.stderr)).toEqual({ error: { code, message: expect.stringMatching(message) } });
    }
  });

  test('nobody listens, or nothing is there, or it is a file', async () => {
    writeFileSync(join(agent.directory, 'file'), '');
    const socket = agent.socket;
    await agent.stop();
    for (const [path, sentence] of [
      [
        socket,
        `no agent is running at ${socket} (from --socket): start it with 'npm start', or with 'mayfly run --config FILE'`,
      ],
      ['/nonexistent/a.sock', 'no agent is running at /nonexistent/a.sock (from --socket)'],
      [join(agent.directory, 'file'), "file (from --socket) is no socket; name the agent's"],
    ] as const) {
      const { code, stderr } = await run(['fetch', 'x509', '--socket', path]);
      expect(code).toBe(1);
      expect(stderr).toContain(sentence);
    }
  });

  test('it does not answer in time', async () => {
    for (const argv of [['fetch', 'x509'], ['healthcheck']]) {
      // It takes connections, and never says a word.
      const path = join(agent.directory, `silent-${argv[0]}.sock`);
      const sockets: Socket[] = [];
      const silent = createServer((socket) => sockets.push(socket));
      await new Promise<void>((resolve) => silent.listen(path, resolve));
      const { code, stderr } = await run([...argv, '--socket', path, '--timeout', '200ms']);
      expect(code).toBe(1);
      expect(stderr).toBe(
        `mayfly: the agent at ${path} did not answer within 200ms; look at its log, or wait longer with --timeout\n`,
      );
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => silent.close(resolve));
    }
    const { code, stderr } = await mayfly(['fetch', 'x509', '--timeout', '200ms']);
    expect(code).toBe(1);
    expect(stderr).toContain('did not answer within 200ms');
  });
});

describe('fetch jwt', () => {
  test('shows whom the token is for, and the token on a line of its own', async () => {
    const { code, stdout, stderr } = await mayfly(['fetch', 'jwt', '--audience', 'a', '--audience', 'b']);
    expect(code).toBe(0);
    const [id, audience, until, hint, token, end] = stdout.split('\n');
    expect(id).toBe('spiffe://example.org/payments');
    expect(audience).toBe('  audience     a, b');
    expect(until).toMatch(new RegExp(String.raw`^ {2}valid until {2}${DATE} \(.* left\)$`));
    expect(hint).toBe('  hint         internal');
    expect(token).toMatch(/^ey[\w-]+\.[\w-]+\.[\w-]+$/);
    expect(end).toBe('');
    expect(stderr).toContain('the token belongs to this process, which ends now');
  });

  test('--raw prints the token alone, --json all', async () => {
    const raw = await mayfly(['fetch', 'jwt', '--audience', 'a', '--raw']);
    expect(raw.stdout).toMatch(/^ey[\w-]+\.[\w-]+\.[\w-]+\n$/);
    const { stdout } = await mayfly(['fetch', 'jwt', '--audience', 'a', '--json']);
    expect(jsonOf(stdout)).toEqual({
      svids: [
        {
          spiffe_id: 'spiffe://example.org/payments',
          hint: 'internal',
          audiences: ['a'],
          issued_at: expect.stringMatching(/Z$/),
          expires_at: expect.stringMatching(/Z$/),
          token: expect.stringMatching(/^ey/),
        },
      ],
    });
  });
});

describe('bundle show', () => {
  test('shows X.509 roots and JWT keys by trust domain', async () => {
    const { code, stdout, stderr } = await mayfly(['bundle', 'show']);
    expect(code).toBe(0);
    expect(stderr).toBe('');
    const lines = stdout.split('\n');
    expect(lines[0]).toBe('spiffe://example.org');
    expect(lines[1]).toMatch(/^ {2}X\.509 {2}O=Mayfly, CN=root [0-9a-f]{16}, until /);
    expect(lines[2]).toBe('  JWT    key-1, EC P-256');
    expect(lines[3]).toBe('spiffe://other.org');
  });

  test.each([
    [[], ['crls', 'jwt', 'x509']],
    [
      ['--x509', '--jwt'],
      ['crls', 'jwt', 'x509'],
    ],
    [['--x509'], ['crls', 'x509']],
    [['--jwt'], ['jwt']],
  ])('%j asks for those alone', async (options, keys) => {
    const { code, stdout } = await mayfly(['bundle', 'show', '--json', ...options]);
    expect(code).toBe(0);
    const bundles = jsonOf(stdout) as Record<string, Record<string, unknown>>;
    expect(Object.keys(bundles).toSorted()).toEqual(keys);
    if (bundles['jwt']) {
      expect(bundles['jwt']['spiffe://example.org']).toMatchObject({ keys: [{ kid: 'key-1', kty: 'EC' }] });
    }
    expect(agent.headers).toHaveLength(options.length === 0 ? 3 : options.length);
  });
});

describe('validate', () => {
  test('reads the token from standard input or a file', async () => {
    const file = join(agent.directory, 'token');
    writeFileSync(file, 'good.to.ken\n');
    for (const argv of [[], ['--token', '-'], ['--token', file]]) {
      const { code, stdout } = await mayfly(['validate', '--audience', 'a', ...argv], '\n good.to.ken \n');
      expect(code).toBe(0);
      expect(stdout.split('\n')).toEqual(
        [
          'spiffe://example.org/payments',
          String.raw`  evil  \u001b[31mred`,
          '  exp   1767225600 (2026-01-01T00:00:00.000Z)',
          '  aud   ["a"]',
          '  sub   spiffe://example.org/payments',
          '',
        ].toSorted((a, b) => expectedOrder(stdout, a) - expectedOrder(stdout, b)),
      );
    }
    const { stdout } = await mayfly(['validate', '--audience', 'a', '--json'], 'good.to.ken');
    expect(jsonOf(stdout)).toMatchObject({ spiffe_id: 'spiffe://example.org/payments', claims: { aud: ['a'] } });
  });

  test('a token that does not validate is refused with the reason', async () => {
    const { code, stdout, stderr } = await mayfly(['validate', '--audience', 'a', '--json'], 'bad.to.ken');
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(jsonOf(stderr)).toEqual({
      error: {
        code: 'TOKEN_INVALID',
        message: 'the token does not validate, do not trust it: token has expired (exp)',
      },
    });
  });

  test('a token that stands among the arguments is refused and not repeated', async () => {
    for (const argv of [['--token', 'eyJhbGci.eyJzdWIi.c2ln'], ['eyJhbGci.eyJzdWIi.c2ln']]) {
      const { code, stderr } = await mayfly(['validate', '--audience', 'a', ...argv]);
      expect(code).toBe(2);
      expect(stderr).not.toContain('eyJzdWIi');
      expect(agent.headers).toEqual([]);
    }
  });

  test.each([
    ['', 'SVID_MISSING', 'there is no token in the standard input', 1],
    ['x'.repeat(70_000), 'TOKEN_INVALID', 'this is no token: it is longer than 65536 bytes', 1],
  ])('input that is no token is refused before it is sent: %#', async (stdin, code, message, exit) => {
    const told = await mayfly(['validate', '--audience', 'a', '--json'], stdin);
    expect(told.code).toBe(exit);
    expect(jsonOf(told.stderr)).toEqual({ error: { code, message } });
    expect(agent.headers).toEqual([]);
  });

  test('a file that is missing is wrong usage', async () => {
    const { code, stderr } = await mayfly(['validate', '--audience', 'a', '--token', '/nonexistent/token']);
    expect(code).toBe(2);
    expect(stderr).toContain('the token cannot be read: ENOENT');
  });
});

describe('healthcheck', () => {
  test('its exit code is the answer', async () => {
    expect(await mayfly(['healthcheck'])).toEqual({ code: 0, stdout: 'serving\n', stderr: '' });
    agent.serving = false;
    expect(await mayfly(['healthcheck'])).toEqual({ code: 1, stdout: 'not serving\n', stderr: '' });
    expect(await mayfly(['healthcheck', '--json'])).toEqual({ code: 1, stdout: '{"serving":false}\n', stderr: '' });
    await agent.stop();
    const { code, stdout, stderr } = await mayfly(['healthcheck']);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toContain('no agent is running at');
  });
});

describe('the admin socket’s commands', () => {
  const at = timestampFromMs(Date.UTC(2026, 0, 1));

  /** Runs a command against an agent whose admin service says this. */
  async function against(admin: Parameters<typeof CannedAgent.start>[1], argv: readonly string[]) {
    await using agent = await CannedAgent.start(undefined, admin);
    return await run(argv, { env: { SPIFFE_ENDPOINT_SOCKET: `unix://${agent.socket}` } });
  }

  test('entries', async () => {
    expect((await mayfly(['entries'])).stdout).toBe('no entries: no process gets an identity\n');
    const listEntries = () => ({
      digest: 'd',
      entries: [
        {
          id: 'payments',
          spiffeId: 'spiffe://example.org/payments',
          selectors: ['unix:uid:1000', 'unix:path:/bin/p'],
          x509SvidTtl: 1800,
          dnsNames: ['payments.internal'],
          source: 'entries/payments.yaml:2',
        },
        { id: 'other', spiffeId: 'spiffe://example.org/other', selectors: ['unix:uid:1'], expiresAt: at },
      ],
    });
    const { code, stdout } = await against({ listEntries }, ['entries']);
    expect(code).toBe(0);
    expect(stdout.replace(/expired .* ago/, 'expired ago')).toBe(
      [
        'payments  spiffe://example.org/payments',
        '  selectors       unix:uid:1000, unix:path:/bin/p',
        '  X.509 lifetime  30m',
        '  DNS names       payments.internal',
        '  from            entries/payments.yaml:2',
        'other  spiffe://example.org/other',
        '  selectors  unix:uid:1',
        '  expires    2026-01-01 00:00:00Z (expired ago)',
        '',
      ].join('\n'),
    );
    expect(jsonOf((await against({ listEntries }, ['entries', '--json'])).stdout)).toMatchObject({
      digest: 'd',
      entries: [
        { id: 'payments', x509_svid_ttl: 1800, hint: '', federates_with: [] },
        { id: 'other', expires_at: '2026-01-01T00:00:00Z' },
      ],
    });
  });

  test('leases', async () => {
    expect((await mayfly(['leases'])).stdout).toBe('no leases: no living process holds an identity\n');
    const listLeases = () => ({
      leases: [
        {
          pid: 42,
          executable: '/usr/bin/payments',
          entryId: 'payments',
          spiffeId: 'spiffe://example.org/payments',
          serial: '4d01',
          tokens: 2,
          rotations: 1,
          renewalError: 'no room',
        },
      ],
    });
    const { code, stdout } = await against({ listLeases }, ['leases']);
    expect(code).toBe(0);
    expect(stdout).toBe(
      [
        'PID  PROGRAM   SPIFFE ID                      ENTRY     AGE  EXPIRES  DELIVERED  SERIAL',
        '42   payments  spiffe://example.org/payments  payments  -    -        -          4d01',
        'not renewed: spiffe://example.org/payments of process 42: no room',
        '',
      ].join('\n'),
    );
    const container = { engine: 'containerd', id: 'c'.repeat(64), started: '' };
    const pod = { uid: 'u1', namespace: 'shop', name: 'pay' };
    const inside = () => ({
      leases: [
        ...listLeases().leases,
        { pid: 43, container, pod },
        { pid: 44, unit: { id: 'pay.service', invocation: 'aa' } },
      ],
    });
    const [headsOfPlaces, ...places] = (await against({ listLeases: inside }, ['leases'])).stdout.split('\n');
    expect(headsOfPlaces).toMatch(/SERIAL +LIVES IN$/);
    expect(places.slice(0, 3).map((row) => row.split(/ {2,}/).at(-1))).toEqual([
      '-',
      `pod shop/pay, containerd ${'c'.repeat(12)}`,
      'pay.service',
    ]);
    const withWit = () => ({ leases: [...listLeases().leases, { pid: 43, wit: 'aa', witRotations: 1 }] });
    const [heads, ...rows] = (await against({ listLeases: withWit }, ['leases'])).stdout.split('\n');
    expect(heads).toMatch(/SERIAL {2}WIT$/);
    expect(rows.slice(0, 2).map((row) => row.split(/ +/).slice(-2))).toEqual([
      ['4d01', '-'],
      ['-', 'aa'],
    ]);
    expect(jsonOf((await against({ listLeases }, ['leases', '--json'])).stdout)).toMatchObject({
      leases: [{ pid: 42, serial: '4d01' }],
    });
  });

  test('leases of one process, identity, entry, container, pod or unit', async () => {
    const web = { entryId: 'web', spiffeId: 'spiffe://example.org/web' };
    const listLeases = () => ({
      leases: [
        { pid: 1, ...web, container: { engine: 'docker', id: 'c'.repeat(64) } },
        { pid: 2, ...web, pod: { uid: 'u1', namespace: 'shop', name: 'pay' } },
        { pid: 3, entryId: 'x', spiffeId: 'spiffe://example.org/x', unit: { id: 'pay.service', invocation: 'aa' } },
      ],
    });
    const pids = async (...argv: readonly string[]) => {
      const { stdout } = await against({ listLeases }, ['leases', '--json', ...argv]);
      return (jsonOf(stdout) as { leases: readonly { pid: number }[] }).leases.map(({ pid }) => pid);
    };
    expect(await pids('--in', 'c'.repeat(12))).toEqual([1]);
    expect(await pids('--in', 'c'.repeat(11))).toEqual([]);
    expect(await pids('--in', 'shop/pay')).toEqual([2]);
    expect(await pids('--in', 'u1')).toEqual([2]);
    expect(await pids('--in', 'pay.service')).toEqual([3]);
    expect(await pids('--in', 'aa')).toEqual([3]);
    expect(await pids('--entry', 'web')).toEqual([1, 2]);
    expect(await pids('--spiffe-id', 'spiffe://example.org/x')).toEqual([3]);
    expect(await pids('--entry', 'web', '--pid', '2')).toEqual([2]);
    expect((await against({ listLeases }, ['leases', '--pid', '9'])).stdout).toBe('no leases like that\n');
  });

  test('attest', async () => {
    const attest = () => ({
      pid: 42,
      uid: 1000,
      gid: 100,
      executable: '/usr/bin/pay',
      selectors: ['unix:uid:1000', 'k8s:ns:shop'],
      container: { engine: 'containerd', id: 'c'.repeat(64) },
      pod: { uid: 'u1', namespace: 'shop', name: 'pay' },
      entries: [
        { id: 'pay', spiffeId: 'spiffe://example.org/pay', dnsNames: ['a', 'b'] },
        { id: 'web', spiffeId: 'spiffe://example.org/web', hint: 'h', barred: true },
      ],
      refused: ['entry cluster: {{k8s.ns}} is "a/b"'],
    });
    const { code, stdout } = await against({ attest }, ['attest', '42']);
    expect(code).toBe(0);
    expect(stdout.split('\n')).toEqual([
      'process 42, uid 1000, gid 100, /usr/bin/pay',
      '  is         k8s:ns:shop',
      '             unix:uid:1000',
      `  container  containerd ${'c'.repeat(64)}`,
      '  pod        shop/pay (u1)',
      'gets spiffe://example.org/pay',
      '  entry      pay',
      '  DNS names  a, b',
      'would get spiffe://example.org/web, but is barred from it by an operator',
      '  entry  web',
      '  hint   h',
      'gets nothing of a template: entry cluster: {{k8s.ns}} is "a/b"',
      '',
    ]);
    const json = await against({ attest }, ['attest', '42', '--json']);
    expect(jsonOf(json.stdout)).toMatchObject({
      pid: 42,
      selectors: attest().selectors,
      entries: [{}, { barred: true }],
    });
    expect((await against({ attest }, ['attest', '42', '--entry', 'pay'])).code).toBe(0);
    expect((await against({ attest }, ['attest', '42', '--entry', 'web'])).code).toBe(1);
    const whyNot = await against({ attest: () => ({ pid: 42, whyNot: ['is not unix:uid:1'] }) }, [
      'attest',
      '42',
      '--entry',
      'x',
    ]);
    expect(whyNot).toMatchObject({
      code: 1,
      stdout: 'process 42, uid 0, gid 0\ngets nothing: no entry matches\nnot x: it is not unix:uid:1\n',
    });
    expect(
      await against({ attest: () => ({ pid: 42, failure: 'the kubelet is down' }) }, ['attest', '42']),
    ).toMatchObject({
      code: 1,
      stdout: 'process 42, uid 0, gid 0\nit cannot be attested, and gets UNAVAILABLE: the kubelet is down\n',
    });
    for (const argv of [[], ['-1'], ['0'], ['x'], ['4294967296']]) {
      expect((await against({ attest }, ['attest', ...argv])).code).toBe(2);
    }
  });

  test('status', async () => {
    const getStatus = () => ({
      version: '0.1.0',
      pid: 42,
      trustDomain: 'example.org',
      socket: '/run/mayfly/api.sock',
      moreSockets: ['/run/istio/socket'],
      serving: true,
      warnings: ['a warning'],
      peer: {
        proof: 'pidfd',
        connections: 2,
        instances: 1,
        streams: 3,
        refused: { 'over-limit': 4n },
        watch: 'looks',
        watchReason: 'another network namespace',
        lookPercent: 1.25,
        watchLosses: 2n,
      },
      sds: {
        streams: 2,
        deltaStreams: 1,
        accepted: 9n,
        rejected: 1n,
        lastRejection: { at, pid: 7, node: 'sidecar', names: ['ROOTCA', 'ALL'], reason: 'Failed to load\u001b[2J' },
      },
      revocation: {
        givenOut: true,
        reason: 'the authority signs for every issuing CA',
        lists: [
          { issuer: 'ab', use: 'root', number: 3n, bytes: 412n },
          { issuer: 'cd', use: 'issuing-ca', number: 9n, certificates: 2, bytes: 1536n, nextUpdate: at },
        ],
        certificates: 2,
        tokens: 1,
        bytes: 1948n,
        maxBytes: 131_072n,
        pushes: 9n,
        lastDelayMs: 0.42,
        lifetimes: [
          { entryId: 'batch', spiffeId: 'spiffe://example.org/batch', deathsPerSecond: 12.5, lifetime: 42.25 },
          { entryId: 'batch', spiffeId: 'spiffe://example.org/batch', age: 60, deathsPerSecond: 1, lifetime: 300 },
        ],
        barred: 1,
      },
      ledger: {
        directory: '/var/lib/mayfly/ledger',
        head: '7:abcd',
        sync: 'strict',
        error: 'no space left',
        pending: 1,
        lastFlushMs: 1.26,
        lastBatch: 4,
        segments: 3,
        bytes: 20_971_520n,
        checkpointAt: at,
        key: 'thumb',
        adopted: 5,
        revokedAtStart: 2,
        useHead: '3:ef',
      },
      authority: { type: 'local', keys: [{ use: 'root', id: 'ab', state: 'active' }] },
      sources: [{ name: 'entries', generation: 2n, count: 5, error: 'a.yaml:1:1: bad', loadedAt: at, failedAt: at }],
      attestors: [{ name: 'unix', attested: 9n, failed: 1n, lastMs: 0.25, shortcomings: ['reads no paths'] }],
      leases: { live: 1, x509Issued: 7n, jwtIssued: 8n, witIssued: 9n, refused: 2n, failed: 1n, ended: { exited: 6n } },
      resources: { residentBytes: 104_857_600n, descriptors: 30, alarms: 4 },
    });
    const { code, stdout } = await against({ getStatus }, ['status']);
    expect(code).toBe(0);
    expect(stdout.replace(/expired .* ago/, 'expired AGE ago')).toBe(
      [
        'mayfly 0.1.0, process 42, serving',
        '  ! a warning',
        '  trust domain   example.org',
        '  socket         /run/mayfly/api.sock, /run/istio/socket',
        '  callers        2 connections of 1 processes, 3 streams, proven by pidfd',
        '  refused        4 over-limit',
        '  watch          looks (another network namespace), looking takes 1.3 % of the time, messages lost 2 times and made good',
        '  leases         1 live; issued 7 X.509, 8 JWT, 9 WIT; refused 2',
        '  ended          6 exited',
        '  renewals       1 failed',
        '  sds            2 streams and 1 delta streams; 9 responses accepted, 1 REJECTED',
        '                 last rejected at 2026-01-01 00:00:00Z by node sidecar, process 7: ROOTCA, ALL: Failed to load\\u001b[2J',
        '  revocation     lists are given out: the authority signs for every issuing CA',
        '                 2 certificates and 1 token revoked, 1 process barred',
        '                 list 3 of root ab: 0 certificates, 412 bytes',
        '                 list 9 of issuing-ca cd: 2 certificates, 1.5 KiB, next by 2026-01-01 00:00:00Z (expired AGE ago)',
        '                 1.9 KiB of 128 KiB; pushed 9 times, the last 0.4 ms after what it tells of',
        '  shortened      first certificates of batch (spiffe://example.org/batch) to 42.3s, at 12.5 deaths a second',
        '  shortened      certificates of processes up to 60s old of batch (spiffe://example.org/batch) to 300s, at 1.0 deaths a second',
        '  ledger         /var/lib/mayfly/ledger, strict, NOT WRITABLE: no space left',
        '                 3 files, 20 MiB; last flush 1.3 ms for 4, 1 waiting',
        '  head           7:abcd',
        '  use head       3:ef',
        '  checkpoint     2026-01-01 00:00:00Z, signed by thumb',
        '  at start       5 leases taken over, 2 revoked',
        '  authority      local',
        '                 root ab (active)',
        '  entries        5, generation 2, loaded 2026-01-01 00:00:00Z; the newest cannot be loaded since 2026-01-01 00:00:00Z: a.yaml:1:1: bad',
        '  attestor unix  9 attested, 1 failed, last in 0.3 ms; reads no paths',
        '  resources      100 MiB, 30 descriptors',
        '',
      ].join('\n'),
    );
    expect(jsonOf((await against({ getStatus }, ['status', '--json'])).stdout)).toMatchObject({
      serving: true,
      peer: { refused: { 'over-limit': 4 } },
      sources: [{ generation: 2, loaded_at: '2026-01-01T00:00:00Z' }],
      leases: { x509_issued: 7, ended: { exited: 6 } },
      resources: { resident_bytes: 104_857_600 },
    });
  });

  test('reload answers no when something could not be loaded', async () => {
    expect(await mayfly(['reload'])).toEqual({ code: 0, stdout: 'all is loaded\n', stderr: '' });
    agent.reloadErrors = ['entries: a.yaml:1:1: bad\nb.yaml:1:1: bad'];
    expect(await mayfly(['reload'])).toEqual({
      code: 1,
      stdout: 'entries: a.yaml:1:1: bad\nb.yaml:1:1: bad\n',
      stderr: '',
    });
    const { code, stdout } = await mayfly(['reload', '--json']);
    expect(code).toBe(1);
    expect(jsonOf(stdout)).toEqual({ reloaded: false, errors: agent.reloadErrors });
  });

  test('more than the 4 MiB that gRPC takes by itself comes through', async () => {
    const listEntries = () => ({
      entries: Array.from({ length: 5000 }, (_, i) => ({ id: `e${i}`, hint: 'x'.repeat(1000) })),
    });
    const { code, stdout } = await against({ listEntries }, ['entries', '--json']);
    expect(code).toBe(0);
    expect((jsonOf(stdout) as { entries: unknown[] }).entries).toHaveLength(5000);
  });
});

test('a quickstart in the working directory is found without being named', async () => {
  const cwd = mkdtempSync(join(tmpdir(), 'mayfly-cwd-'));
  try {
    mkdirSync(join(cwd, '.mayfly'));
    const endpoint = { socket: agent.socket, admin_socket: agent.adminSocket };
    writeFileSync(join(cwd, '.mayfly', 'endpoint.json'), JSON.stringify(endpoint), { mode: 0o600 });
    expect((await run(['healthcheck'], { cwd })).stdout).toBe('serving\n');
    expect((await run(['status', '--json'], { cwd })).code).toBe(0);
  } finally {
    rmSync(cwd, { recursive: true });
  }
});

test('version', async () => {
  const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  expect((await run(['version'])).stdout).toContain(`mayfly ${version}\n`);
  for (const argv of [
    ['version', '--json'],
    ['--version', '--json'],
  ]) {
    const { code, stdout } = await run(argv);
    expect(code).toBe(0);
    // The commit is that of the clone, where this is one.
    expect(jsonOf(stdout)).toEqual({
      version,
      commit: expect.toSatisfy((it) => it === null || /^[0-9a-f]{40}$/.test(String(it))),
      date: null,
      form: 'sources',
      node: process.version,
      platform: `linux-${process.arch}`,
    });
  }
});

/** Claims have no order of their own. */
function expectedOrder(stdout: string, line: string): number {
  return line === '' ? Number.POSITIVE_INFINITY : stdout.indexOf(line);
}
