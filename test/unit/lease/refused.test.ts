import { expect, it } from 'vitest';
import { Refused } from '../../../agent/lease/refused.ts';
import type { SvidRefused } from '../../../agent/ledger/event.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLedger } from '../../support/memory-ledger.ts';

function refusal(entry: string, decision: string): SvidRefused {
  return {
    type: 'svid.refused',
    decision,
    kind: 'x509',
    lease: 'lease',
    occasion: 'first',
    instance: { pid: 7, start_time: '1', uid: 0, gid: 0 },
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
