import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readLedger } from '../../../agent/ledger/read.ts';
import { segmentsOf } from '../../../agent/ledger/segments.ts';
import type { TraceSubject } from '../../../agent/ledger/trace.ts';
import { traceOf } from '../../../agent/ledger/trace.ts';
import { ended, issued, LedgerWorld, linesIn, refused, revoked, token, validated } from './ledger-world.ts';

let world: LedgerWorld;

beforeEach(() => {
  world = new LedgerWorld();
});

afterEach(() => world.clean());

const seqs = (...since: [] | [Parameters<typeof readLedger>[2]]) =>
  [...readLedger(world.directory, 'issuance', ...since)].map(({ record }) => record.seq);

describe('reading', () => {
  test('goes through all files, beside an agent that writes', async () => {
    const ledger = await world.open({ segmentSize: 2048 });
    for (let index = 0; index < 12; index += 1) {
      await ledger.append(issued(String(index), world.clock));
      world.clock.advance(1000);
    }
    await ledger.settled();
    appendFileSync(world.path(), '{"_hash":"0');
    const last = ledger.head.seq;
    expect(seqs()).toEqual(Array.from({ length: last }, (_, index) => index + 1));
    expect(seqs({ seq: 5 })).toEqual(Array.from({ length: last - 4 }, (_, index) => index + 5));
    expect(seqs({ seq: last + 1 })).toEqual([]);
    const since = Date.UTC(2026, 0, 1, 0, 0, 6);
    const read = [...readLedger(world.directory, 'issuance', { time: since })];
    expect(read.every(({ record }) => Date.parse(record.time) >= since)).toBe(true);
    expect(read.filter(({ record }) => record.type === 'svid.issued')).toHaveLength(6);
    for (const { line, lineNumber, segment } of read) {
      expect(linesIn(join(world.directory, segment))[lineNumber - 1]).toBe(line);
    }
  });

  test('finds nothing where nothing is', () => {
    expect(segmentsOf(join(world.dataDir, 'none'), 'use')).toEqual([]);
    expect(seqs()).toEqual([]);
  });

  test('stops at a line that is no record, and names it', async () => {
    await world.open();
    appendFileSync(world.path(), 'nothing\n');
    expect(() => seqs()).toThrow(
      expect.objectContaining({ code: 'DATA_DIR_DAMAGED', message: expect.stringContaining('line 2') }),
    );
  });

  test('looks at files of the ledger alone', async () => {
    await world.open();
    for (const name of ['issuance-1.jsonl', 'issuance-0000000000000009.jsonl.bak', 'other-0000000000000001.jsonl']) {
      writeFileSync(join(world.directory, name), 'x\n');
    }
    expect(seqs()).toEqual([1]);
  });
});

describe('a trace', () => {
  const bar = {
    pid: 4711,
    start_time: '8814',
    entry: 'payments',
    spiffe_id: 'spiffe://example.org/payments',
    reason: 'stolen',
  };

  async function lived(): Promise<void> {
    const ledger = await world.open();
    const { clock } = world;
    const other = issued('other', clock, {
      instance: { pid: 5, start_time: '7', uid: 0, gid: 0 },
      spiffe_id: 'spiffe://example.org/mail',
      entry: 'mail',
    });
    await ledger.append(other);
    clock.advance(1000);
    const first = issued('a', clock);
    await ledger.append(first);
    clock.advance(1000);
    const jwt = token('b', clock, { lease: first.lease, parent: first.decision });
    await ledger.append(jwt);
    clock.advance(1000);
    ledger.use(validated('jti-b', 'decision-b'));
    ledger.use(validated('jti-unknown'));
    await ledger.settled();
    clock.advance(1000);
    const renewed = issued('c', clock, { type: 'svid.renewed', lease: first.lease, parent: first.decision });
    await ledger.append(renewed);
    clock.advance(1000);
    ledger.note({ type: 'reissue.barred', ...bar });
    ledger.note(ended(first));
    ledger.note({
      ...revoked(renewed),
      parent: first.decision,
      tokens: [{ jti: 'jti-b', expires_at: jwt.expires_at }],
    });
    ledger.refuse({ ...refused('d', clock), lease: first.lease });
    ledger.note({ type: 'reissue.barred', ...bar, pid: 6 });
    await ledger.close();
  }

  test.each<TraceSubject>([
    { kind: 'serial', serial: 'serial-a' },
    { kind: 'serial', serial: 'serial-c' },
    { kind: 'jti', jti: 'jti-b' },
    { kind: 'pid', pid: 4711 },
    { kind: 'spiffe-id', spiffeId: 'spiffe://example.org/payments' },
    { kind: 'decision', decision: 'decision-b' },
    { kind: 'decision', decision: 'decision-a' },
    { kind: 'lease', lease: 'lease-a' },
  ])('tells a lease’s whole story by its $kind', async (subject) => {
    await lived();
    const traces = traceOf(world.directory, subject);
    expect(
      traces.map(({ known, lease, records }) => ({ known, lease, types: records.map(({ record }) => record.type) })),
    ).toEqual([
      {
        known: undefined,
        lease: 'lease-a',
        types: [
          'svid.issued',
          'svid.issued',
          'svid.validated',
          'svid.renewed',
          'reissue.barred',
          'lease.ended',
          'svid.revoked',
          'svid.refused',
        ],
      },
    ]);
  });

  test('tells nothing of what nobody knows', async () => {
    await lived();
    expect(traceOf(world.directory, { kind: 'serial', serial: 'ff' })).toEqual([]);
    expect(traceOf(join(world.dataDir, 'none'), { kind: 'pid', pid: 4711 })).toEqual([]);
  });

  test('begins with what the oldest checkpoint knows when the first records are gone', async () => {
    const ledger = await world.open({ segmentSize: 2048, maxSize: 6000 });
    const event = token('old', world.clock, { instance: { pid: 77, start_time: '1', uid: 0, gid: 0 } });
    await ledger.append(event);
    for (let index = 0; index < 40; index += 1) {
      const short = issued(String(index), world.clock);
      await ledger.append(short);
      ledger.note(ended(short));
      await ledger.settled();
    }
    ledger.use(validated('jti-old'));
    ledger.note(ended(event));
    await ledger.close();
    const [trace] = traceOf(world.directory, { kind: 'pid', pid: 77 });
    expect(trace?.known).toMatchObject({ id: 'lease-old', tokens: [{ jti: 'jti-old' }] });
    expect(trace?.records.map(({ record }) => record.type)).toEqual(['lease.ended', 'svid.validated']);
    for (const subject of [
      { kind: 'jti', jti: 'jti-old' },
      { kind: 'lease', lease: 'lease-old' },
      { kind: 'decision', decision: 'decision-old' },
    ] as const) {
      expect(traceOf(world.directory, subject)).toHaveLength(1);
    }
  });
});
