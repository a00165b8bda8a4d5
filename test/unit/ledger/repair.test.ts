import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ErrorCode } from '../../../agent/kernel/errors.ts';
import type { Ledger } from '../../../agent/ledger/ledger.ts';
import { LedgerKey } from '../../../agent/ledger/ledger-key.ts';
import { endOfStream, replay } from '../../../agent/ledger/replay.ts';
import { verifyLedger } from '../../../agent/ledger/verify.ts';
import { ended, issued, LedgerWorld, linesIn, stateOf, stateToJson, validated } from './ledger-world.ts';

let world: LedgerWorld;

beforeEach(() => {
  world = new LedgerWorld();
});

afterEach(() => world.clean());

/** An agent's life that ends without a stop: three records behind the checkpoint. */
async function abandoned(): Promise<Ledger> {
  const ledger = await world.open();
  const event = issued('a', world.clock);
  await ledger.append(event);
  await ledger.append(issued('b', world.clock));
  ledger.note(ended(event));
  await ledger.settled();
  return ledger;
}

async function refusesToOpen(code: ErrorCode, message: RegExp): Promise<void> {
  const files = [...world.names(), ...world.names('use')].map((name) => readFileSync(join(world.directory, name)));
  await expect(world.open()).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  const after = [...world.names(), ...world.names('use')].map((name) => readFileSync(join(world.directory, name)));
  expect(after).toEqual(files);
}

describe('a record that was being written when all ended', () => {
  test('is left out, however much of it is there', async () => {
    const ledger = await abandoned();
    const path = world.path();
    const whole = readFileSync(path);
    const { head } = ledger;
    const state = stateOf(ledger, world.clock);
    await ledger.append(issued('c', world.clock));
    const more = readFileSync(path).subarray(whole.length);
    writeFileSync(path, whole);
    for (const [index, byte] of more.subarray(0, -1).entries()) {
      appendFileSync(path, Buffer.of(byte));
      const end = endOfStream(world.directory, 'issuance');
      expect(end).toMatchObject({
        head,
        torn: [{ goodBytes: whole.length }],
        newest: { scan: { tornBytes: index + 1 } },
      });
      const replayed = replay(end, ledger.status().key);
      expect(stateToJson(replayed.state, world.clock.now())).toEqual(state);
    }
  });

  test.each([1, 75, 400])('is cut off and noted, %i bytes of it', async (length) => {
    const ledger = await abandoned();
    const path = world.path();
    const whole = readFileSync(path);
    await ledger.append(issued('c', world.clock));
    truncateSync(path, whole.length + length);
    const again = await world.open();
    expect([...again.state.leases.keys()]).toEqual(['lease-b']);
    await again.settled();
    expect(readFileSync(path).subarray(0, whole.length)).toEqual(whole);
    expect(world.records().slice(4)).toMatchObject([
      { type: 'ledger.repaired', segment: world.names()[0], removed_bytes: length },
    ]);
    expect(verifyLedger(world.directory, 'issuance', { head: again.head }).problems).toEqual([]);
    expect(world.log.events).toContain('ledger.repaired');
  });

  test.each<[string, (line: Buffer) => Buffer]>([
    ['zeros', (line) => Buffer.alloc(line.length)],
    ['zeros at its end', (line) => Buffer.concat([line.subarray(0, 300), Buffer.alloc(line.length - 300)])],
    ['another byte', (line) => Buffer.from(line.toString('latin1').replace('payments', 'paymentz'), 'latin1')],
    ['garbage of several lines', () => Buffer.from('{"_hash":"\n\n{}\n')],
  ])('is cut off when it is %s', async (_name, damage) => {
    const ledger = await abandoned();
    const path = world.path();
    const whole = statSync(path).size;
    await ledger.append(issued('c', world.clock));
    const content = readFileSync(path);
    writeFileSync(path, Buffer.concat([content.subarray(0, whole), damage(content.subarray(whole))]));
    const again = await world.open();
    expect([...again.state.leases.keys()]).toEqual(['lease-b']);
    await again.settled();
    expect(world.types().slice(-2)).toEqual(['lease.ended', 'ledger.repaired']);
  });

  test('is cut off the uses too', async () => {
    const ledger = await world.open();
    ledger.use(validated('jti-a'));
    await ledger.settled();
    appendFileSync(world.path(-1, 'use'), '{"_hash":"00');
    const again = await world.open();
    again.use(validated('jti-b'));
    await again.settled();
    expect(world.types('use')).toEqual(['segment', 'svid.validated', 'svid.validated']);
    expect(world.types()).toEqual(['checkpoint', 'ledger.repaired']);
  });

  test.each([0, 1, 100])('takes its file with it when it was the first, %i bytes of it', async (length) => {
    const ledger = await world.open({ segmentSize: 2048 });
    for (let index = 0; world.names().length < 3; index += 1) await ledger.append(issued(String(index), world.clock));
    await ledger.settled();
    const [, before] = world.names();
    const state = linesIn(world.path(1)).length;
    truncateSync(world.path(), length);
    const again = await world.open();
    await again.settled();
    expect(world.names().at(1)).toBe(before);
    expect(linesIn(world.path(1)).length).toBeGreaterThan(state);
    expect(world.types()).toContain('ledger.repaired');
    expect(verifyLedger(world.directory, 'issuance').problems).toEqual([]);
  });

  test('was the very first one: the ledger begins anew', async () => {
    await world.open();
    truncateSync(world.path(), 40);
    // Which is not begun before that record is there.
    rmSync(world.path(-1, 'use'));
    const again = await world.open();
    expect(again.before).toBeUndefined();
    await again.append(issued('a', world.clock));
    expect(verifyLedger(world.directory, 'issuance')).toMatchObject({ problems: [], records: 3 });
  });
});

describe('what was not written so stops the start, and is left as it is', () => {
  test('a record with whole ones behind it', async () => {
    await abandoned();
    const path = world.path();
    const text = readFileSync(path, 'latin1');
    writeFileSync(path, text.replace('serial-a', 'serial-x'), 'latin1');
    await refusesToOpen(
      'DATA_DIR_DAMAGED',
      /issuance-0000000000000001\.jsonl line 2 is not what was written; mayfly audit verify/,
    );
  });

  test('a record that is missing', async () => {
    await abandoned();
    const lines = linesIn(world.path());
    writeFileSync(world.path(), `${lines.toSpliced(1, 1).join('\n')}\n`);
    await refusesToOpen('DATA_DIR_DAMAGED', /line 2 does not follow the line before/);
  });

  test('two that are swapped', async () => {
    await abandoned();
    const [first, second, third, fourth] = linesIn(world.path());
    writeFileSync(world.path(), `${[first, third, second, fourth].join('\n')}\n`);
    await refusesToOpen('DATA_DIR_DAMAGED', /line 2 does not follow the line before/);
  });

  test('a file whose predecessor lost its end, or is missing', async () => {
    const ledger = await world.open({ segmentSize: 2048 });
    for (let index = 0; world.names().length < 4; index += 1) await ledger.append(issued(String(index), world.clock));
    await ledger.settled();
    const [, , third] = world.names();
    const content = readFileSync(join(world.directory, third!));
    truncateSync(join(world.directory, third!), content.length - 10);
    await refusesToOpen('DATA_DIR_DAMAGED', /which does not follow the last one of/);
    rmSync(join(world.directory, third!));
    await refusesToOpen('DATA_DIR_DAMAGED', /which does not follow the last one of/);
  });

  test('a file under another name', async () => {
    await abandoned();
    renameSync(world.path(), join(world.directory, 'issuance-0000000000000002.jsonl'));
    await refusesToOpen('DATA_DIR_DAMAGED', /begins with the record 1, not with the one that its name says/);
  });

  test('the only file, without a whole record, when there were others before', async () => {
    await world.open();
    renameSync(world.path(), join(world.directory, 'issuance-0000000000000900.jsonl'));
    truncateSync(world.path(), 10);
    await refusesToOpen('DATA_DIR_DAMAGED', /has no whole record, and no file before it is there/);
  });

  test('all decisions, of which uses are left', async () => {
    await abandoned();
    truncateSync(world.path(), 0);
    await refusesToOpen('DATA_DIR_DAMAGED', /ledger has a record of uses and none of decisions/);
    rmSync(world.path());
    await refusesToOpen('DATA_DIR_DAMAGED', /ledger has a record of uses and none of decisions/);
  });

  test('a checkpoint of another key, and one whose key is gone', async () => {
    await abandoned();
    const key = join(world.directory, 'key.pem');
    rmSync(key);
    await refusesToOpen('DATA_DIR_DAMAGED', /key\.pem is missing beside the ledger that it signed/);
    LedgerKey.open(key, 'first start');
    await refusesToOpen('DATA_DIR_DAMAGED', /a checkpoint that cannot be trusted: it is signed by another key/);
    writeFileSync(key, 'nothing');
    await refusesToOpen('DATA_DIR_DAMAGED', /key\.pem holds no private key/);
  });
});

describe('what others may have read or written stops the start', () => {
  test.each<[string, () => void, RegExp]>([
    ['the directory', () => chmodSync(world.directory, 0o750), /ledger has mode 0750/],
    ['the key', () => chmodSync(join(world.directory, 'key.pem'), 0o640), /key\.pem has mode 0640/],
    ['a file', () => chmodSync(world.path(), 0o604), /\.jsonl has mode 0604/],
    ['the directory above', () => chmodSync(world.dataDir, 0o722), /has mode 0722/],
  ])('%s', async (_name, open, message) => {
    await abandoned();
    open();
    await refusesToOpen('DATA_DIR_UNSAFE', message);
    chmodSync(world.dataDir, 0o700);
  });

  test('a symbolic link in place of a file or of the directory', async () => {
    await abandoned();
    const elsewhere = join(world.dataDir, 'elsewhere');
    copyFileSync(world.path(), elsewhere);
    const path = world.path();
    rmSync(path);
    symlinkSync(elsewhere, path);
    await refusesToOpen('DATA_DIR_UNSAFE', /is a symbolic link/);
    renameSync(world.directory, `${world.directory}-moved`);
    symlinkSync(`${world.directory}-moved`, world.directory);
    await expect(world.open()).rejects.toMatchObject({ code: 'DATA_DIR_UNSAFE' });
  });
});
