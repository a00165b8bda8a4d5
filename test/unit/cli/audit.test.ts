import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Output } from '../../../agent/cli/output.ts';
import { Ledger } from '../../../agent/ledger/ledger.ts';
import { verifyLedger } from '../../../agent/ledger/verify.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLog } from '../../support/memory-log.ts';
import { unprivileged } from '../config/unprivileged.ts';
import { CannedAgent } from './canned-agent.ts';
import { ISSUED, LEASE, TOKEN } from './ledger-events.ts';
import { jsonOf, run, start, TestTerminal } from './transcript.ts';

let home: string;
let clock: ManualClock;

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'mayfly-audit-'));
  clock = new ManualClock();
  const ledger = await openLedger(home);
  await ledger.append(ISSUED);
  clock.advance(60_000);
  await ledger.append(TOKEN);
  ledger.use({
    type: 'svid.validated',
    kind: 'jwt',
    decision: 'd2',
    jti: 'aa',
    spiffe_id: LEASE.spiffe_id,
    audience: 'mail',
    caller: { pid: 4712, start_time: '9000', uid: 1001 },
  });
  clock.advance(60_000);
  ledger.note({ ...LEASE, type: 'lease.ended', reason: 'exited' });
  ledger.note({
    type: 'svid.revoked',
    lease: 'l1',
    parent: 'd1',
    entry: 'payments',
    spiffe_id: LEASE.spiffe_id,
    reason: 'cessationOfOperation',
    cause: 'exited',
    certificates: [{ serial: '4d01', issuer: 'ab12', expires_at: ISSUED.expires_at }],
    tokens: [{ jti: 'aa', expires_at: TOKEN.expires_at }],
  });
  await ledger.close();
});

afterAll(() => rmSync(home, { recursive: true }));

function openLedger(dataDir: string): Promise<Ledger> {
  return Ledger.open({
    sync: 'relaxed',
    segmentSize: 64 * 1024,
    checkpointInterval: 3_600_000,
    maxAge: 90 * 86_400_000,
    maxSize: 1024 ** 3,
    reserve: 64 * 1024,
    directory: join(dataDir, 'ledger'),
    bootId: 'boot-1',
    clock,
    log: new MemoryLog(),
  });
}

const audit = (...argv: readonly string[]) => run(['audit', ...argv, '--data-dir', home], { clock });
const linesOf = (text: string) => text.split('\n').slice(0, -1);
const typesOf = (text: string) => linesOf(text).map((line) => (JSON.parse(line) as { type: string }).type);

/** All records of a stream as they stand in its files. */
function rawLines(stream: 'issuance' | 'use'): string[] {
  return namesOf(home, stream).flatMap((name) => linesOf(readFileSync(join(home, 'ledger', name), 'utf8')));
}

function namesOf(dataDir: string, stream: 'issuance' | 'use'): string[] {
  return readdirSync(join(dataDir, 'ledger'))
    .filter((name) => name.startsWith(`${stream}-`))
    .toSorted();
}

describe('audit verify', () => {
  test('prints how much was checked, and claims no more than it can', async () => {
    const { code, stdout, stderr } = await audit('verify');
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const count = rawLines('issuance').length;
    expect(stdout).toMatch(/^issuance: nothing is wrong\n/);
    expect(stdout).toContain(`  checked  ${count} records in `);
    expect(stdout).toContain('whether records are missing at its end cannot be told without --head');
    expect(stdout).toContain('\nuse: nothing is wrong\n');
    expect(stdout).toContain('cannot be told without --use-head');
  });
});

describe('audit head', () => {
  test('prints the head alone, which verify then takes', async () => {
    const { code, stdout } = await audit('head');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\d+:[0-9a-f]{64}\n$/);
    const useHead = (await audit('head', '--use')).stdout;
    expect(useHead).not.toBe(stdout);
    const verified = await audit('verify', '--head', stdout.trim().toUpperCase(), '--use-head', useHead.trim());
    expect(verified.code).toBe(0);
    expect(verified.stdout).toContain('was changed, removed or added\n');
    expect(verified.stdout).not.toContain('cannot be told');
    expect(jsonOf((await audit('head', '--json')).stdout)).toMatchObject({ stream: 'issuance', head: stdout.trim() });
  });
});

describe('audit verify of a ledger that was touched', () => {
  let copy: string;

  beforeEach(() => {
    copy = mkdtempSync(join(tmpdir(), 'mayfly-audit-'));
    cpSync(home, copy, { recursive: true });
  });

  afterEach(() => rmSync(copy, { recursive: true }));

  const verify = (...argv: readonly string[]) => run(['audit', 'verify', '--data-dir', copy, ...argv], { clock });

  /** Rewrites the newest file of decisions. */
  function edit(change: (lines: readonly string[]) => readonly string[]): string {
    const name = namesOf(copy, 'issuance').at(-1)!;
    const path = join(copy, 'ledger', name);
    writeFileSync(
      path,
      change(linesOf(readFileSync(path, 'utf8')))
        .map((line) => `${line}\n`)
        .join(''),
    );
    return name;
  }

  test('names file, line, record and what is wrong', async () => {
    const index = rawLines('issuance').findIndex((line) => line.includes('"svid.issued"'));
    const name = edit((lines) => lines.with(index, lines[index]!.replace('"uid":1000', '"uid":1001')));
    const { code, stdout } = await verify();
    expect(code).toBe(1);
    expect(stdout).toMatch(/^issuance: NOT AS IT WAS WRITTEN, \d+ faults?\n/);
    expect(stdout).toMatch(new RegExp(`^ {2}! ${name}, line ${index + 1}, record ${index + 1}: \\S`, 'm'));
    expect(stdout.slice(0, stdout.indexOf('\nuse:'))).not.toContain('claim');
    const json = await verify('--json');
    expect(json.code).toBe(1);
    expect(jsonOf(json.stdout)).toMatchObject({
      ok: false,
      streams: [
        { stream: 'issuance', problems: [{ segment: name, line: index + 1 }] },
        { stream: 'use', problems: [] },
      ],
    });
  });

  test('sees a cut tail when it is told the head, and says so when it is not', async () => {
    const head = (await audit('head')).stdout.trim();
    edit((lines) => lines.slice(0, -2));
    const without = await verify();
    expect(without.code).toBe(0);
    expect(without.stdout).toContain('whether records are missing at its end cannot be told without --head');
    const { code, stdout } = await verify('--head', head);
    expect(code).toBe(1);
    expect(stdout).toContain('  ! ');
  });

  test('holds checkpoints against the key that it is told', async () => {
    const [key] = verifyLedger(join(home, 'ledger'), 'issuance').keys;
    const { code, stdout } = await verify('--key', key!);
    expect(code).toBe(0);
    expect(stdout).toContain('each signed record is signed by the key that was given');
    expect((await verify('--key', 'A'.repeat(43))).code).toBe(1);
  });
});

describe('audit tail', () => {
  test('prints the newest records for people, one a line', async () => {
    const { code, stdout } = await audit('tail');
    expect(code).toBe(0);
    const lines = linesOf(stdout);
    expect(lines).toHaveLength(rawLines('issuance').length);
    expect(lines).toContain(
      '2026-01-01T00:02:00.000Z  lease.ended      4711 payments  spiffe://example.org/payments  lease ended: its process ended',
    );
  });

  test('prints as many as are asked for, and with --json what stands in the ledger', async () => {
    const { stdout } = await audit('tail', '-n', '2', '--json');
    expect(linesOf(stdout)).toEqual(rawLines('issuance').slice(-2));
    expect((await audit('tail', '-n', '0')).stdout).toBe('');
    const used = await audit('tail', '--use', '--json', '-n', '100');
    expect(linesOf(used.stdout)).toEqual(rawLines('use'));
    expect(typesOf(used.stdout)).toContain('svid.validated');
  });

  test('--follow goes on with what is written, until interrupted', async () => {
    const grown = mkdtempSync(join(tmpdir(), 'mayfly-audit-'));
    const ledger = await openLedger(grown);
    try {
      await ledger.append(ISSUED);
      const follower = start(['audit', 'tail', '--follow', '--json', '--data-dir', grown]);
      await follower.terminal.until(({ out }) => out.includes('"svid.issued"'));
      const before = linesOf(follower.terminal.out);
      await ledger.append(TOKEN);
      await follower.terminal.until(({ out }) => out.includes('"jti":"aa"'));
      const { code, stdout } = await follower.interrupt();
      expect(code).toBe(0);
      const seqs = linesOf(stdout).map((line) => (JSON.parse(line) as { seq: number }).seq);
      expect(seqs).toEqual(seqs.map((_, index) => seqs[0]! + index));
      expect(seqs.length).toBeGreaterThan(before.length);
    } finally {
      await ledger.close();
      rmSync(grown, { recursive: true });
    }
  });

  test.each(['-1', '1000000', 'x', ''])('-n %j is wrong usage', async (count) => {
    expect((await audit('tail', '-n', count)).code).toBe(2);
  });
});

describe('audit export', () => {
  test('prints the records as they stand in the ledger', async () => {
    expect(linesOf((await audit('export')).stdout)).toEqual(rawLines('issuance'));
    expect(linesOf((await audit('export', '--use', '--json')).stdout)).toEqual(rawLines('use'));
  });

  test('gives a terminal no control characters, and programs what they take the hash of', async () => {
    const other = mkdtempSync(join(tmpdir(), 'mayfly-audit-'));
    const ledger = await openLedger(other);
    const executable = '/opt/\u009b31m\u202e';
    await ledger.append({ ...ISSUED, instance: { ...ISSUED.instance, executable } });
    await ledger.close();
    const argv = ['audit', 'export', '--data-dir', other];
    const shown = await run(argv, { clock, screen: { rows: 24, columns: 80 } });
    const given = await run(argv, { clock });
    rmSync(other, { recursive: true });
    expect(given.stdout).toContain(executable);
    for (const character of ['\u009b', '\u202e']) expect(shown.stdout).not.toContain(character);
    expect(linesOf(shown.stdout).map((line) => JSON.parse(line))).toEqual(
      linesOf(given.stdout).map((line) => JSON.parse(line)),
    );
  });

  test('begins at a record, a time, or so long ago', async () => {
    expect(linesOf((await audit('export', '--since', '3')).stdout)).toEqual(rawLines('issuance').slice(2));
    for (const since of ['2026-01-01T00:02:00Z', '2026-01-01T01:02:00+01:00', '30s']) {
      const types = typesOf((await audit('export', '--since', since)).stdout);
      expect(types).toContain('lease.ended');
      expect(types).not.toContain('svid.issued');
    }
    expect((await audit('export', '--since', '2027-01-01')).stdout).toBe('');
  });

  test.each(['yesterday', '2026-01-01T00:00:00', '2026-13-01', ''])('--since %j is wrong usage', async (since) => {
    const { code, stderr } = await audit('export', '--since', since);
    expect(code).toBe(2);
    expect(stderr).toContain('write a time in full');
  });

  test('waits for whoever reads it', async () => {
    const room: (() => void)[] = [];
    const written: string[] = [];
    const stdout = new Writable({
      decodeStrings: false,
      highWaterMark: 10,
      write: (text, _encoding, done) => {
        written.push(String(text));
        room.push(done);
      },
    });
    const output = new Output(Object.assign(new TestTerminal(), { stdout }), false);
    let resolved = 0;
    const line = output.line('more than ten characters').then(() => (resolved += 1));
    await new Promise((resolve) => setImmediate(resolve));
    expect(resolved).toBe(0);
    room.shift()!();
    await line;
    expect(resolved).toBe(1);
    const stuck = output.line('more than ten characters', AbortSignal.abort());
    await stuck;
    const interrupted = new AbortController();
    const waiting = output.line('more than ten characters', interrupted.signal);
    interrupted.abort();
    await waiting;
    const gone = output.line('more than ten characters');
    stdout.destroy();
    await gone;
    expect(stdout.listenerCount('drain')).toBe(0);
    expect(written).toHaveLength(2);
  });
});

describe('audit trace', () => {
  const story = [
    'spiffe://example.org/payments',
    '  process      4711, /usr/bin/payments',
    '  user         uid 1000, gid 100',
    '  cgroup       /system.slice/payments.service',
    '  attested as  unix:uid:1000, unix:path:/usr/bin/payments',
    '  entry        payments',
    '  owner        team-payments@example.org',
    '  lease l1',
    '2026-01-01T00:00:00.000Z  certificate 4d01 issued for 1h, until 2026-01-01T01:00:00.000Z (rule lifetime; decision d1)',
    '2026-01-01T00:01:00.000Z  token aa for ledger, mail issued for 5m, until 2026-01-01T00:05:00.000Z (rule lifetime; decision d2)',
    '2026-01-01T00:01:00.000Z  token aa found valid for mail, asked by process 4712 of uid 1001',
    '2026-01-01T00:02:00.000Z  lease ended: its process ended',
    '2026-01-01T00:02:00.000Z  revoked as cessationOfOperation (exited): certificate 4d01, token aa',
    '',
  ].join('\n');

  test.each(['4D:01', '0x4d01', 'aa', '4711', 'spiffe://example.org/payments', 'd2', 'l1'])(
    'tells the whole story of %s',
    async (subject) => {
      expect(await audit('trace', subject)).toEqual({ code: 0, stdout: story, stderr: '' });
    },
  );

  test('says once whose story it is when one process asked again and again', async () => {
    const asked = mkdtempSync(join(tmpdir(), 'mayfly-audit-'));
    const { serial: _serial, issuer: _issuer, lifetime_given: _given, expires_at: _expires, ...request } = ISSUED;
    const instance = {
      ...ISSUED.instance,
      cgroup: 'cpu:/a\nmemory:/b',
      container: { engine: 'docker', id: 'c1'.repeat(32), started: '2027-01-01T00:00:00Z' },
      pod: { namespace: 'shop', name: 'pay', uid: 'u1' },
      unit: { id: 'pay.service', invocation: 'aa' },
    };
    const refused = { ...request, type: 'svid.refused', instance, reason: 'barred', rule: 'reissue_barred' } as const;
    const ledger = await openLedger(asked);
    ledger.refuse({ ...refused, lease: 'l1', decision: 'd1' });
    ledger.refuse({ ...refused, lease: 'l2', decision: 'd2' });
    await ledger.close();
    const { stdout } = await run(['audit', 'trace', '4711', '--data-dir', asked]);
    for (const place of ['c1c1c1c1c1c1', 'u1', 'shop/pay', 'pay.service', 'aa']) {
      expect(await run(['audit', 'trace', place, '--data-dir', asked])).toMatchObject({ code: 0, stdout });
    }
    for (const place of ['c1c1c1c1c1', 'shop', 'pay', 'd2d2d2d2d2d2']) {
      expect((await run(['audit', 'trace', place, '--data-dir', asked])).code).toBe(1);
    }
    rmSync(asked, { recursive: true });
    expect(linesOf(stdout).map((line) => line.replace(/^\d{4}-[^ ]*/, 'TIME'))).toEqual([
      ...story.split('\n').slice(0, 3),
      '  cgroup       cpu:/a, memory:/b',
      `  container    docker ${'c1'.repeat(32)}, started 2027-01-01T00:00:00Z`,
      '  pod          shop/pay, uid u1',
      '  unit         pay.service, invocation aa',
      ...story.split('\n').slice(4, 7),
      '  lease l1',
      'TIME  certificate refused for 1h: barred (rule reissue_barred; decision d1)',
      '',
      'the same process, of the same entry',
      '  lease l2',
      'TIME  certificate refused for 1h: barred (rule reissue_barred; decision d2)',
    ]);
  });

  test('with --json gives the records', async () => {
    const json = jsonOf((await audit('trace', 'aa', '--json')).stdout) as { leases: { records: { type: string }[] }[] };
    expect(json).toMatchObject({ subject: 'jti', leases: [{ lease: 'l1', known: null }] });
    expect(json.leases[0]!.records.map(({ type }) => type)).toEqual([
      'svid.issued',
      'svid.issued',
      'svid.validated',
      'lease.ended',
      'svid.revoked',
    ]);
  });

  test('says what was looked for when nothing is found', async () => {
    expect(await audit('trace', '77')).toEqual({
      code: 1,
      stdout: '',
      stderr: `mayfly: the ledger in ${home}/ledger knows nothing of "77"; ask for a serial, jti, pid, SPIFFE ID, decision, lease, container, pod or unit, as 'mayfly leases' and 'mayfly audit tail' show them\n`,
    });
    expect((await audit('trace', 'spiffe://example.org/nobody')).code).toBe(1);
  });

  test.each([[], ['spiffe://example.org/a b'], ['a', 'b']])('wrong usage: %j', async (...subjects) => {
    expect((await audit('trace', ...subjects)).code).toBe(2);
  });
});

describe('where the ledger is', () => {
  test('a configuration says', async () => {
    const file = join(home, 'mayfly.yaml');
    writeFileSync(file, `trust_domain: example.org\ndata_dir: .\n`);
    expect((await run(['audit', 'head', '--config', file])).stdout).toBe((await audit('head')).stdout);
    writeFileSync(file, 'trust_domain: example.org\ndata_dri: .\n');
    const { code, stderr } = await run(['audit', 'head', '--config', file]);
    expect(code).toBe(1);
    expect(stderr).toContain('data_dri');
  });

  test('otherwise the running agent says', async () => {
    await using agent = await CannedAgent.start();
    const argv = ['audit', 'head', '--admin-socket', agent.adminSocket];
    expect((await run(argv)).stderr).toContain('this agent does not say where its ledger is; or name the files with');
    agent.ledgerDirectory = join(home, 'ledger');
    expect((await run(argv)).stdout).toBe((await audit('head')).stdout);
    await agent.stop();
    const { code, stderr } = await run(argv);
    expect(code).toBe(1);
    expect(stderr).toMatch(/no agent is running at .*; or name the files with --config FILE or --data-dir PATH\n$/);
  });

  test('a directory without one, and one that one may not read, is said', async () => {
    const empty = mkdtempSync(join(tmpdir(), 'mayfly-audit-'));
    try {
      const { code, stderr } = await run(['audit', 'verify', '--data-dir', empty]);
      expect(code).toBe(1);
      expect(stderr).toBe(`mayfly: no ledger is in ${empty}/ledger; name the data_dir of an agent that has run\n`);
      chmodSync(empty, 0o700);
      const closed = async () => {
        const { code, stderr } = await run(['audit', 'verify', '--data-dir', empty]);
        expect(code).toBe(1);
        expect(stderr).toMatch(
          /^mayfly: uid \d+ may not read .*\/ledger: it is for the agent's own user; run this as (root|uid \d+)\n$/,
        );
      };
      mkdirSync(join(empty, 'ledger'), { mode: 0o000 });
      await unprivileged(closed);
      chmodSync(empty, 0o755);
      chmodSync(join(empty, 'ledger'), 0o755);
      writeFileSync(join(empty, 'ledger', 'issuance-0000000000000001.jsonl'), '', { mode: 0o000 });
      await unprivileged(closed);
    } finally {
      rmSync(empty, { recursive: true });
    }
  });

  test('is named in one way', async () => {
    const { code, stderr } = await run(['audit', 'head', '--config', 'a', '--data-dir', 'b']);
    expect(code).toBe(2);
    expect(stderr).toContain('--config and --data-dir name two places');
  });
});
