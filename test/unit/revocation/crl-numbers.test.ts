import { expect, test } from 'vitest';
import { CrlNumbers } from '../../../agent/revocation/crl-numbers.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLedger } from '../../support/memory-ledger.ts';

/** A ledger as it was on the disk after `kept` of its records. */
function afterCrash(ledger: MemoryLedger, clock: ManualClock, kept = ledger.events.length): MemoryLedger {
  const restored = new MemoryLedger(clock);
  for (const event of ledger.events.slice(0, kept)) if (event.type === 'crl.reserved') restored.note(event);
  return restored;
}

function take(numbers: CrlNumbers, count: number): number[] {
  return Array.from({ length: count }, () => numbers.next());
}

test('each is above the one before, and reserved while half a block is left', () => {
  const clock = new ManualClock();
  const ledger = new MemoryLedger(clock);
  const numbers = new CrlNumbers(ledger, clock.now());
  expect(ledger.events).toEqual([]);
  let last = 0;
  for (const number of take(numbers, 25_000)) {
    if (number <= last || ledger.state.crlNumbersReserved - number < 5000) expect.fail(`${number} after ${last}`);
    last = number;
  }
  expect(ledger.events.length).toBeLessThan(8);
});

test.each([
  ['with every record on the disk', 0, 0],
  ['with the last records lost', 1, 0],
  ['with every record lost', Number.POSITIVE_INFINITY, 0],
  ['with the clock set back by ten years', 0, -10 * 365 * 86_400_000],
])('no number is used twice over crashes, %s', (_, lost, step) => {
  const clock = new ManualClock();
  let ledger = new MemoryLedger(clock);
  const used = new Set<number>();
  let count = 0;
  let highest = 0;
  for (let round = 0; round < 50; round++) {
    const numbers = take(new CrlNumbers(ledger, clock.now()), 1 + ((round * 337) % 9000));
    expect(numbers[0]).toBeGreaterThan(highest);
    highest = numbers.at(-1) ?? 0;
    for (const number of numbers) used.add(number);
    count += numbers.length;
    // At the fastest pace there is, a list of each of three CAs every 20 ms.
    clock.advance((numbers.length / 3) * 20);
    clock.step(step / 50);
    ledger = afterCrash(ledger, clock, Math.max(0, ledger.events.length - lost));
  }
  expect(used.size).toBe(count);
});
