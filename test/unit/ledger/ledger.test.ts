import { createPublicKey, verify } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { canonicalJson } from '../../../agent/ledger/canonical-json.ts';
import type { LedgerFile, LedgerFiles } from '../../../agent/ledger/ledger-files.ts';
import { DiskFiles } from '../../../agent/ledger/ledger-files.ts';
import type { Checkpoint } from '../../../agent/ledger/record.ts';
import { headText } from '../../../agent/ledger/record.ts';
import { verifyLedger } from '../../../agent/ledger/verify.ts';
import {
  BOOT,
  ended,
  issued,
  LedgerWorld,
  linesIn,
  refused,
  revoked,
  stateOf,
  token,
  validated,
} from './ledger-world.ts';

let world: LedgerWorld;

beforeEach(() => {
  world = new LedgerWorld();
});

afterEach(() => world.clean());

describe('a record', () => {
  test('is durable when the append resolves, and chained to the one before', async () => {
    const ledger = await world.open({ sync: 'strict' });
    await ledger.append(issued('a', world.clock));
    const [checkpoint, record] = world.records();
    expect(record).toMatchObject({ seq: 2, type: 'svid.issued', boot_id: BOOT, time: '2026-01-01T00:00:00.000Z' });
    expect(record).toMatchObject({ prev: checkpoint?._hash, instance: { executable: '/usr/bin/päyments' } });
    expect(ledger.head).toEqual({ seq: 2, hash: record?._hash });
    expect(checkpoint).toMatchObject({ seq: 1, type: 'checkpoint', prev: '0'.repeat(64) });
    expect(verifyLedger(world.directory, 'issuance', { head: ledger.head }).problems).toEqual([]);
  });

  test('takes effect in the state at once, durable or not', async () => {
    const ledger = await world.open();
    const event = issued('a', world.clock);
    const appended = ledger.append(event);
    expect(ledger.state.leases.get('lease-a')?.certificates.has('serial-a')).toBe(true);
    await appended;
    ledger.note(ended(event));
    ledger.note(revoked(event));
    expect(ledger.state.leases.size).toBe(0);
    expect(ledger.state.revokedCertificates.get('serial-a')).toMatchObject({ reason: 'cessationOfOperation' });
  });

  test('of what was asked for together is written together', async () => {
    const files = new CountingFiles();
    const ledger = await world.open({ files });
    files.writes = 0;
    await Promise.all(Array.from({ length: 200 }, (_, index) => ledger.append(issued(String(index), world.clock))));
    // The first turn is one write; whatever came while it was under way would be a second.
    expect(files.writes).toBeLessThanOrEqual(2);
    expect(world.types().slice(1)).toEqual(Array.from({ length: 200 }, () => 'svid.issued'));
    expect(ledger.status()).toMatchObject({ lastBatch: 200, pending: 0 });
  });

  test('that has no place in a ledger is refused alone', async () => {
    const ledger = await world.open();
    const good = ledger.append(issued('a', world.clock));
    const bad = ledger.append(issued('b', world.clock, { lifetime_given: 0.5 }));
    await expect(bad).rejects.toThrow('no safe integer');
    await good;
    expect(ledger.state.leases.has('lease-b')).toBe(false);
    expect(world.types()).toEqual(['checkpoint', 'svid.issued']);
    expect(world.log.events).toContain('ledger.defect');
  });

  test('of a use has a chain of its own', async () => {
    const ledger = await world.open();
    ledger.use(validated('jti-a', 'decision-a'));
    await ledger.settled();
    expect(world.types('use')).toEqual(['segment', 'svid.validated']);
    expect(ledger.useHead.seq).toBe(2);
    expect(ledger.head.seq).toBe(1);
    expect(verifyLedger(world.directory, 'use', { head: ledger.useHead }).problems).toEqual([]);
  });
});

describe('those who follow', () => {
  test('are told of each durable record as it stands in the file, checkpoints aside, until they stop', async () => {
    const ledger = await world.open();
    const told: string[] = [];
    ledger.subscribe(() => {
      throw new Error('a defect');
    });
    const stop = ledger.subscribe((record) => told.push(record));
    const event = issued('a', world.clock);
    await ledger.append(event);
    ledger.refuse(refused('b', world.clock));
    await ledger.checkpoint();
    stop();
    ledger.note(ended(event));
    await ledger.settled();
    const lines = linesIn(world.path());
    expect(told).toEqual([lines[1], lines[2]]);
    expect(ledger.recent()).toEqual([lines[1], lines[2], lines[4]]);
    expect(world.log.events).toContain('ledger.listener_failed');
  });

  test('who come late get the newest 256', async () => {
    const ledger = await world.open();
    await Promise.all(Array.from({ length: 300 }, (_, index) => ledger.append(issued(String(index), world.clock))));
    const recent = ledger.recent();
    expect(recent).toHaveLength(256);
    expect(JSON.parse(recent.at(-1)!)).toMatchObject({ seq: 301 });
  });
});

describe('a checkpoint', () => {
  test('is signed by the ledger’s own key and says what holds', async () => {
    const ledger = await world.open();
    const event = token('a', world.clock);
    await ledger.append(event);
    await ledger.append(issued('b', world.clock));
    ledger.note(revoked(event));
    ledger.note({ type: 'crl.reserved', up_to: 40 });
    ledger.note({
      type: 'reissue.barred',
      pid: 4711,
      start_time: '8814',
      entry: 'payments',
      spiffe_id: 'spiffe://example.org/payments',
      reason: 'stolen',
    });
    await ledger.checkpoint();
    const record = world.records().at(-1) as Checkpoint & { _hash: string };
    const { _hash, signature, ...content } = record;
    const key = createPublicKey({ key: { ...record.jwk }, format: 'jwk' });
    expect(verify(null, Buffer.from(canonicalJson(content)), key, Buffer.from(signature, 'base64url'))).toBe(true);
    expect(record.key).toBe(ledger.status().key);
    expect(record.state).toEqual(stateOf(ledger, world.clock));
    expect(record.state).toMatchObject({
      leases: [
        { id: 'lease-a', tokens: [] },
        { id: 'lease-b', certificates: [{ serial: 'serial-b' }] },
      ],
      revoked_tokens: [{ jti: 'jti-a', decision: 'decision-a' }],
      barred: [{ process: `${BOOT}/4711/8814`, entries: { payments: 'spiffe://example.org/payments' } }],
      crl_numbers_reserved: 40,
    });
  });

  test('comes at its interval, and only if something happened', async () => {
    const ledger = await world.open({ checkpointInterval: 60_000 });
    await world.clock.elapse(60_000);
    await ledger.settled();
    expect(world.types()).toEqual(['checkpoint']);
    await ledger.append(issued('a', world.clock));
    await world.clock.elapse(60_000);
    await ledger.settled();
    await world.clock.elapse(600_000);
    await ledger.settled();
    expect(world.types()).toEqual(['checkpoint', 'svid.issued', 'checkpoint']);
    expect(ledger.status().checkpointAt?.seconds).toBe(BigInt(Date.UTC(2026, 0, 1, 0, 2) / 1000));
  });

  test('leaves out what nobody takes any longer', async () => {
    const ledger = await world.open();
    const gone = issued('a', world.clock);
    await ledger.append(gone);
    ledger.note(revoked(gone));
    // Clocks differ: it is kept for two minutes more.
    world.clock.advance(3_600_000 + 119_000);
    ledger.note({ type: 'crl.reserved', up_to: 2 });
    await ledger.checkpoint();
    expect(world.records().at(-1)).toMatchObject({ state: { revoked_certificates: [{ serial: 'serial-a' }] } });
    world.clock.advance(1000);
    ledger.note({ type: 'crl.reserved', up_to: 3 });
    await ledger.checkpoint();
    expect(world.records().at(-1)).toMatchObject({ state: { leases: [{ id: 'lease-a' }], revoked_certificates: [] } });
  });
});

describe('a ledger that is opened again', () => {
  test('knows what was, after a crash', async () => {
    const first = await world.open();
    const event = issued('a', world.clock);
    await first.append(event);
    await first.append(token('b', world.clock));
    await first.checkpoint();
    first.note(ended(event));
    first.note(revoked(event));
    await first.append(issued('c', world.clock));
    const second = await world.open();
    expect(stateOf(second, world.clock)).toEqual(stateOf(first, world.clock));
    expect(second.before).toEqual({ lastSeq: first.head.seq, lastTime: '2026-01-01T00:00:00.000Z', stopped: false });
    expect(second.head).toEqual(first.head);
    expect(second.state.decisionOf('jti-b')).toBe('decision-b');
    await second.append(issued('d', world.clock));
    expect(verifyLedger(world.directory, 'issuance', { head: second.head }).problems).toEqual([]);
  });

  test('tells the very first start, an orderly stop and a crash apart', async () => {
    const first = await world.open();
    expect(first.before).toBeUndefined();
    await first.close();
    await first.close();
    expect(world.types()).toEqual(['checkpoint', 'agent.stopped', 'checkpoint']);
    const second = await world.open();
    expect(second.before).toMatchObject({ lastSeq: 3, stopped: true });
    await second.append(issued('a', world.clock));
    const third = await world.open();
    expect(third.before).toMatchObject({ lastSeq: 4, stopped: false });
    await third.checkpoint();
    expect((await world.open()).before).toMatchObject({ lastSeq: 5, stopped: false });
  });

  test('needs no record before its last checkpoint', async () => {
    const first = await world.open({ segmentSize: 4096 });
    for (let index = 0; index < 40; index += 1) await first.append(issued(String(index), world.clock));
    await first.settled();
    expect(world.names().length).toBeGreaterThan(3);
    const second = await world.open();
    expect(stateOf(second, world.clock)).toEqual(stateOf(first, world.clock));
    expect(second.state.leases.size).toBe(40);
  });

  test('takes no more once it is closed', async () => {
    const ledger = await world.open();
    await ledger.close();
    await expect(ledger.append(issued('a', world.clock))).rejects.toMatchObject({ code: 'SHUTTING_DOWN' });
    ledger.note({ type: 'crl.reserved', up_to: 3 });
    ledger.use(validated('x'));
    await ledger.settled();
    expect(world.types()).toEqual(['checkpoint', 'agent.stopped', 'checkpoint']);
    expect(world.clock.alarms).toBe(0);
  });
});

describe('the files', () => {
  test('are the agent’s alone', async () => {
    await world.open();
    expect(statSync(world.directory).mode & 0o7777).toBe(0o700);
    for (const name of ['key.pem', 'reserve', ...world.names(), ...world.names('use')]) {
      expect([name, statSync(join(world.directory, name)).mode & 0o7777]).toEqual([name, 0o600]);
    }
  });

  test('follow one another, each with a signed record at its beginning', async () => {
    const ledger = await world.open({ segmentSize: 4096 });
    for (let index = 0; index < 30; index += 1) {
      const event = issued(String(index), world.clock);
      await ledger.append(event);
      ledger.note(ended(event));
      ledger.use(validated(`jti-${index}`));
    }
    await ledger.close();
    for (const stream of ['issuance', 'use'] as const) {
      const type = stream === 'use' ? 'segment' : 'checkpoint';
      expect(world.names(stream).length).toBeGreaterThan(2);
      for (const name of world.names(stream)) {
        const first = JSON.parse(linesIn(join(world.directory, name))[0]!);
        expect(first).toMatchObject({ type, key: ledger.status().key });
        expect(name).toBe(`${stream}-${String(first.seq).padStart(16, '0')}.jsonl`);
      }
      expect(verifyLedger(world.directory, stream)).toMatchObject({ problems: [], keys: [ledger.status().key] });
    }
  });

  test('are not made of checkpoints alone when the state is larger than a file', async () => {
    const ledger = await world.open({ segmentSize: 2048 });
    for (let index = 0; index < 100; index += 1) await ledger.append(issued(String(index), world.clock));
    await ledger.settled();
    expect(world.names().length).toBeLessThan(12);
  });

  test('are told of in status', async () => {
    const ledger = await world.open();
    await ledger.append(issued('a', world.clock));
    expect(ledger.status()).toMatchObject({
      directory: world.directory,
      head: headText(ledger.head),
      useHead: headText(ledger.useHead),
      sync: 'relaxed',
      writable: true,
      error: '',
      segments: 2,
      lastBatch: 1,
      bytes: BigInt(statSync(world.path()).size + statSync(world.path(-1, 'use')).size),
    });
  });
});

/** The machine's files, counting what is written to them. */
class CountingFiles extends DiskFiles implements LedgerFiles {
  writes = 0;

  constructor() {
    super('relaxed');
  }

  override async open(path: string): Promise<LedgerFile> {
    return this.#counted(await super.open(path));
  }

  override async create(path: string): Promise<LedgerFile> {
    return this.#counted(await super.create(path));
  }

  #counted(file: LedgerFile): LedgerFile {
    return {
      write: (bytes, position) => {
        this.writes += 1;
        return file.write(bytes, position);
      },
      truncate: (size) => file.truncate(size),
      close: () => file.close(),
    };
  }
}
