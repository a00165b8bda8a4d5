import { appendFileSync, readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { retain } from '../../../agent/ledger/retention.ts';
import { verifyLedger } from '../../../agent/ledger/verify.ts';
import { ended, issued, LedgerWorld, stateOf, validated } from './ledger-world.ts';

const DAY = 86_400_000;

let world: LedgerWorld;

beforeEach(() => {
  world = new LedgerWorld();
});

afterEach(() => world.clean());

const bytes = (stream: 'issuance' | 'use') =>
  world.names(stream).length === 0
    ? 0
    : world.records(stream).reduce((sum, record) => sum + JSON.stringify(record).length + 1, 0);

describe('what is kept', () => {
  test('is no larger than it may be, and verifies, and starts', async () => {
    const ledger = await world.open({ segmentSize: 4096, maxSize: 20_000 });
    const living = issued('living', world.clock);
    await ledger.append(living);
    for (let index = 0; index < 100; index += 1) {
      const event = issued(String(index), world.clock);
      await ledger.append(event);
      ledger.note(ended(event));
    }
    await ledger.settled();
    expect(bytes('issuance') + bytes('use')).toBeLessThan(20_000 + 3 * 4096);
    expect(world.records()[0]).toMatchObject({ type: 'checkpoint' });
    expect(world.records()[0]?.seq).toBeGreaterThan(1);
    expect(verifyLedger(world.directory, 'issuance', { head: ledger.head }).problems).toEqual([]);
    expect(world.log.events).toContain('ledger.retained');
    const again = await world.open();
    expect(again.state.leases.has('lease-living')).toBe(true);
    expect(stateOf(again, world.clock)).toEqual(stateOf(ledger, world.clock));
  });

  test('is no older than it may be, except for the newest file', async () => {
    const ledger = await world.open({ segmentSize: 2048, maxAge: 2 * DAY, checkpointInterval: 365 * DAY });
    for (let day = 0; day < 6; day += 1) {
      for (let index = 0; index < 3; index += 1) await ledger.append(issued(`${day}-${index}`, world.clock));
      await ledger.settled();
      await world.clock.elapse(DAY);
    }
    expect(Date.parse(world.records()[0]!.time)).toBeGreaterThanOrEqual(world.clock.now() - 4 * DAY);
    await world.clock.elapse(30 * DAY);
    expect(world.names()).toHaveLength(1);
    expect(verifyLedger(world.directory, 'issuance', { head: ledger.head }).problems).toEqual([]);
  });

  test('is not washed away by uses', async () => {
    const ledger = await world.open({ segmentSize: 2048, maxSize: 40_000 });
    for (let index = 0; index < 8; index += 1) await ledger.append(issued(String(index), world.clock));
    await ledger.settled();
    const before = world.records().length;
    for (let index = 0; index < 300; index += 1) {
      ledger.use(validated(`jti-${index}`));
      if (index % 5 === 0) await ledger.settled();
    }
    await ledger.settled();
    expect(world.records()).toHaveLength(before);
    expect(world.records('use')[0]).toMatchObject({ type: 'segment' });
    expect(verifyLedger(world.directory, 'use', { head: ledger.useHead }).problems).toEqual([]);
  });

  test('is a file of which the age cannot be told', async () => {
    const ledger = await world.open({ segmentSize: 2048 });
    for (let index = 0; world.names().length < 3; index += 1) {
      await ledger.append(issued(String(index), world.clock));
      await ledger.settled();
    }
    appendFileSync(world.path(0), 'half a');
    const names = readdirSync(world.directory);
    expect(retain(world.directory, { maxAge: DAY, maxSize: 1e9 }, world.clock.now() + 10 * DAY)).toEqual([]);
    expect(readdirSync(world.directory)).toEqual(names);
  });
});
