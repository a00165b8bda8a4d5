import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Body } from '../../../agent/ledger/chain.ts';
import { chained } from '../../../agent/ledger/chain.ts';
import { checkpointOf } from '../../../agent/ledger/checkpoint.ts';
import { LedgerKey } from '../../../agent/ledger/ledger-key.ts';
import type { Head } from '../../../agent/ledger/record.ts';
import { ReplayState } from '../../../agent/ledger/replay-state.ts';
import type { Fault } from '../../../agent/ledger/verify.ts';
import { verifyLedger } from '../../../agent/ledger/verify.ts';
import { BOOT, ended, issued, LedgerWorld, linesIn, revoked, token, validated } from './ledger-world.ts';

let origin: LedgerWorld;
let world: LedgerWorld;
let head: Head;
let key: string;

/** A ledger of several files, with expiries, revocations, a clock that was set forward and back, and two agents. */
beforeAll(async () => {
  origin = new LedgerWorld();
  const { clock } = origin;
  let ledger = await origin.open({ segmentSize: 6000 });
  for (let index = 0; index < 30; index += 1) {
    const certificate = issued(String(index), clock);
    const jwt = token(`t${index}`, clock, { lease: certificate.lease });
    await ledger.append(certificate);
    await ledger.append(jwt);
    if (index % 3 === 0) {
      ledger.note(ended(certificate));
      ledger.note(revoked(certificate));
      ledger.note(revoked(jwt));
    }
    ledger.use(validated(jwt.jti ?? '', jwt.decision));
    clock.advance(240_000);
    if (index === 10) clock.step(86_400_000);
    if (index === 12) await clock.elapse(20_000);
    if (index === 13) clock.step(-86_400_000);
    if (index === 20) {
      await ledger.settled();
      ledger = await origin.open({ segmentSize: 6000 });
    }
  }
  await ledger.close();
  ({ head } = ledger);
  ({ key } = ledger.status());
});

beforeEach(() => {
  world?.clean();
  world = new LedgerWorld();
  mkdirSync(world.directory, { mode: 0o700 });
  cpSync(origin.directory, world.directory, { recursive: true });
});

afterAll(() => {
  origin.clean();
  world.clean();
});

const problems = (expectation = {}): readonly Fault[] =>
  verifyLedger(world.directory, 'issuance', expectation).problems;

/** Rewrites a file's lines. */
function edit(index: number, change: (lines: string[]) => string[]): string {
  const path = world.path(index);
  writeFileSync(
    path,
    change(linesIn(path))
      .map((line) => `${line}\n`)
      .join(''),
  );
  return world.names().at(index)!;
}

describe('a ledger as it was written', () => {
  test('has no problems', () => {
    expect(verifyLedger(world.directory, 'issuance', { head, key })).toMatchObject({
      segments: world.names().length,
      records: head.seq,
      first: { seq: 1, time: '2026-01-01T00:00:00.000Z' },
      last: { seq: head.seq },
      head,
      keys: [key],
      unfinished: false,
      problems: [],
    });
    expect(world.names().length).toBeGreaterThan(4);
    expect(verifyLedger(world.directory, 'use').problems).toEqual([]);
  });

  test('has none without its oldest files', () => {
    for (const path of [world.path(0), world.path(1)]) rmSync(path);
    expect(problems({ head, key })).toEqual([]);
  });

  test('may have a last line that is not finished', () => {
    writeFileSync(world.path(), readFileSync(world.path()).subarray(0, -5));
    expect(verifyLedger(world.directory, 'issuance')).toMatchObject({ unfinished: true, problems: [] });
  });

  test('may not be there', () => {
    expect(verifyLedger(join(world.directory, 'none'), 'issuance')).toMatchObject({ records: 0, problems: [] });
  });
});

describe('the place is named', () => {
  test('of any byte that is another', async () => {
    rmSync(world.directory, { recursive: true });
    const ledger = await world.open();
    const event = issued('a', world.clock);
    await ledger.append(event);
    ledger.note(ended(event));
    ledger.note(revoked(event));
    await ledger.close();
    const path = world.path();
    const bytes = readFileSync(path);
    const lineOf = (at: number) => bytes.subarray(0, at).filter((byte) => byte === 0x0a).length + 1;
    // Every byte of one record, and a sample of the others.
    const second = bytes.indexOf(0x0a) + 1;
    const third = bytes.indexOf(0x0a, second) + 1;
    for (let at = 0; at < bytes.length; at += at >= second && at < third ? 1 : 11) {
      const changed = Buffer.from(bytes);
      changed[at] = bytes[at]! ^ 0x01;
      writeFileSync(path, changed);
      const { problems: found, unfinished } = verifyLedger(world.directory, 'issuance', { head: ledger.head });
      expect([at, found[0]?.line ?? unfinished]).toEqual([at, at === bytes.length - 1 ? true : lineOf(at)]);
      expect(found.length).toBeGreaterThan(0);
    }
  });

  test('of a record that is missing', () => {
    const name = edit(1, (lines) => lines.toSpliced(3, 1));
    expect(problems()).toEqual([
      {
        segment: name,
        line: 4,
        seq: expect.any(Number),
        message: expect.stringContaining('records are missing before it'),
      },
    ]);
  });

  test('of two that are swapped', () => {
    const name = edit(1, (lines) => [...lines.slice(0, 2), lines[3]!, lines[2]!, ...lines.slice(4)]);
    expect(problems()).toEqual([expect.objectContaining({ segment: name, line: 3 })]);
  });

  test('of one that is there twice', () => {
    const name = edit(2, (lines) => lines.toSpliced(2, 0, lines[1]!));
    expect(problems()).toEqual([
      expect.objectContaining({ segment: name, line: 3, message: expect.stringContaining('out of order') }),
    ]);
  });

  test('of a file that is missing', () => {
    rmSync(world.path(2));
    const message = expect.stringContaining('records are missing before it');
    expect(problems()).toEqual([expect.objectContaining({ segment: world.names()[2], line: 1, message })]);
  });

  test('of a file that is empty, under another name, or cut', () => {
    truncateSync(world.path(2), 0);
    const [, , empty, after] = world.names();
    expect(problems()).toEqual([
      { segment: empty, message: 'the file has no record' },
      expect.objectContaining({ segment: after, line: 1, message: expect.stringContaining('records are missing') }),
    ]);
    renameSync(world.path(2), join(world.directory, 'issuance-0000000000000003.jsonl'));
    expect(problems()).not.toEqual([]);
    truncateSync(world.path(0), 900);
    expect(problems()[0]).toMatchObject({
      segment: world.names()[0],
      message: expect.stringContaining('not finished'),
    });
  });

  test('of each file that has one', () => {
    const broken = [1, 3].map((index) =>
      edit(index, (lines) => lines.with(2, lines[2]!.replace('payments', 'others'))),
    );
    expect(problems().map(({ line, segment }) => [segment, line])).toEqual(broken.map((name) => [name, 3]));
  });
});

describe('a tail that was cut', () => {
  test('is visible to who knows the head, and to nobody else', () => {
    edit(-1, (lines) => lines.slice(0, -1));
    expect(problems()).toEqual([]);
    expect(problems({ head })).toEqual([
      {
        segment: world.names().at(-1),
        seq: head.seq,
        message: `record ${head.seq} must be there and is not: its last record is ${head.seq - 1}`,
      },
    ]);
  });

  test('is visible when whole files are gone', () => {
    rmSync(world.path());
    expect(problems({ head })).toHaveLength(1);
    rmSync(world.directory, { recursive: true });
    expect(problems({ head })).toEqual([
      { segment: 'issuance', seq: head.seq, message: expect.stringContaining('it has no record at all') },
    ]);
  });

  test('is told from a head that is no longer kept', () => {
    rmSync(world.path(0));
    expect(problems({ head: { seq: 1, hash: '0'.repeat(64) } })).toEqual([
      expect.objectContaining({ message: expect.stringContaining('no longer kept') }),
    ]);
  });
});

describe('what was written anew with hashes that fit', () => {
  /** Writes a file's records anew from one of them on, as somebody could who has the directory. */
  function forge(index: number, from: number, bodies: (key: LedgerKey) => readonly Body[]): string {
    const signer = LedgerKey.open(join(world.directory, 'key.pem'), 'damage');
    return edit(index, (lines) => {
      const kept = lines.slice(0, from);
      const last = JSON.parse(kept.at(-1)!);
      let before: Head = { seq: last.seq, hash: last._hash };
      for (const body of bodies(signer)) {
        const { head: next, line } = chained(body, before, { time: last.time, bootId: BOOT });
        kept.push(line);
        before = next;
      }
      return kept;
    });
  }

  test('is another record than the head says', () => {
    const last = linesIn(world.path()).length - 1;
    const name = forge(-1, last, () => [{ type: 'agent.stopped' }]);
    expect(problems()).toEqual([]);
    expect(problems({ head })).toEqual([
      expect.objectContaining({ segment: name, seq: head.seq, message: expect.stringContaining('another record') }),
    ]);
  });

  test('does not carry the files behind it', () => {
    forge(1, 3, () => [{ type: 'agent.stopped' }]);
    expect(problems()).toEqual([expect.objectContaining({ segment: world.names()[2], line: 1 })]);
  });

  test('by another key is not vouched for', () => {
    rmSync(join(world.directory, 'key.pem'));
    const other = LedgerKey.open(join(world.directory, 'key.pem'), 'first start');
    const name = forge(-1, 2, () => [checkpointOf(new ReplayState(), 0, other)]);
    expect(problems()).toEqual([
      expect.objectContaining({
        segment: name,
        line: 3,
        message: expect.stringContaining(`signed by the key ${other.thumbprint}`),
      }),
    ]);
    expect(problems({ key: other.thumbprint }).length).toBeGreaterThan(1);
  });

  test('with a checkpoint that does not follow from the records is told', () => {
    const name = forge(-1, 2, (signer) => [checkpointOf(new ReplayState(), origin.clock.now(), signer)]);
    expect(problems()).toEqual([
      expect.objectContaining({
        segment: name,
        line: 3,
        message: expect.stringContaining('not what the records before it come to'),
      }),
    ]);
  });

  test('with a checkpoint that nobody signed is told', () => {
    const [first] = linesIn(world.path());
    const { type, key: signer, jwk, signature, state } = JSON.parse(first!);
    forge(-1, 2, () => [{ type, key: signer, jwk, signature, state: { ...state, crl_numbers_reserved: 7 } }]);
    expect(problems()).toEqual([expect.objectContaining({ line: 3, message: 'its signature does not hold' })]);
  });

  test('in another spelling is told', () => {
    const name = edit(1, (lines) => lines.with(2, lines[2]!.replace('{', '{ ')));
    expect(problems()).toEqual([
      expect.objectContaining({ segment: name, line: 3, message: 'the line is not canonical JSON' }),
    ]);
  });
});
