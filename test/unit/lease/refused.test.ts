import { expect, it } from 'vitest';
import { Refused } from '../../../agent/lease/refused.ts';
import type { SvidRefused } from '../../../agent/ledger/event.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLedger } from '../../support/memory-ledger.ts';

function refusal(entry: string, decision: string, uid = 0): SvidRefused {
  return {
    type: 'svid.refused',
    decision,
    kind: 'x509',
    lease: 'lease',
    occasion: 'first',
    instance: { pid: 7, start_time: '1', uid, gid: 0 },
    selectors: [],
    entry,
    spiffe_id: `spiffe://example.org/${entry}`,
    lifetime_asked: 1000,
    rule: 'max_audiences',
    reason: 'too many',
  };
}

it('a refusal is recorded at once, what repeats it as one record every ten seconds, and another one by itself', () => {
  const clock = new ManualClock();
  const ledger = new MemoryLedger(clock);
  const refused = new Refused(ledger, clock);
  const records = () =>
    ledger
      .of('svid.refused')
      .map(({ decision, repeated }) => [decision, ...(repeated === undefined ? [] : [repeated])]);

  refused.record('7.1', refusal('web', 'a'));
  refused.record('7.1', refusal('web', 'b'));
  refused.record('7.1', refusal('web', 'c'));
  refused.record('8.1', refusal('web', 'd'));
  refused.record('7.1', refusal('shop', 'e'));
  expect(records()).toEqual([['a'], ['d'], ['e']]);
  clock.advance(10_000);
  expect(records()).toEqual([['a'], ['d'], ['e'], ['c', 2]]);
  refused.record('7.1', refusal('web', 'f'));
  clock.advance(10_000);
  expect(records().at(-1)).toEqual(['f', 1]);
  clock.advance(10_000);
  expect(clock.alarms).toBe(0);
  refused.record('7.1', refusal('web', 'g'));
  refused.record('7.1', refusal('web', 'h'));
  refused.close();
  expect(records().slice(-2)).toEqual([['g'], ['h', 1]]);
  expect(clock.alarms).toBe(0);
});

it('a user who starts processes that are refused does not fill the ledger, and takes no record from another', () => {
  const clock = new ManualClock();
  const ledger = new MemoryLedger(clock);
  const refused = new Refused(ledger, clock);
  const records = () => ledger.of('svid.refused').map(({ instance: { uid }, repeated = 1 }) => [uid, repeated]);

  for (let process = 0; process < 1000; process++) refused.record(`${process}.1`, refusal('web', 'a', 1000));
  // 32 by themselves, and the others as one.
  expect(records()).toEqual(Array.from({ length: 33 }, () => [1000, 1]));
  refused.record('5000.1', refusal('web', 'a', 1001));
  expect(records().at(-1)).toEqual([1001, 1]);
  clock.advance(10_000);
  expect(records().slice(34)).toEqual([[1000, 967]]);

  refused.record('1000.1', refusal('web', 'b', 1000));
  expect(records().slice(35)).toEqual([[1000, 1]]);
  clock.advance(10_000);
  expect(records()).toHaveLength(36);
  clock.advance(10_000);
  expect(clock.alarms).toBe(0);
});
