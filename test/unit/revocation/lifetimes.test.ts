import { beforeEach, describe, expect, test } from 'vitest';
import { Lifetimes } from '../../../agent/revocation/lifetimes.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { CONFIG, HOUR, MINUTE, SECOND } from './revocation-world.ts';

const ENTRY = 50;

let clock: ManualClock;
/** Certificates on the list: when each goes, and whom to tell. */
let list: { readonly until: number; readonly dropped: () => void }[];
let lifetimes: Lifetimes;

beforeEach(() => {
  clock = new ManualClock();
  list = [];
  lifetimes = new Lifetimes(CONFIG, clock, () => list.length * ENTRY);
});

/** The one identity of an entry. */
function of(entryId: string) {
  return { entryId, spiffeId: `spiffe://example.org/${entryId}` };
}

/** A process that is given a certificate and dies at once. */
function comeAndGo(entry: string, asked = HOUR): number {
  const given = lifetimes.bound(of(entry), 0, asked);
  list.push({ until: clock.monotonic() + given + 10 * SECOND, dropped: lifetimes.listed(of(entry), 0, 'died') });
  return given;
}

function pass(ms: number): void {
  clock.advance(ms);
  const now = clock.monotonic();
  for (const { dropped, until } of list) if (until <= now) dropped();
  list = list.filter(({ until }) => until > now);
}

test('as long as the list fits, everybody gets what was asked for', () => {
  for (let minute = 0; minute < 120; minute++) {
    expect(comeAndGo('calm')).toBe(HOUR);
    pass(MINUTE);
  }
  expect(lifetimes.status()).toEqual([]);
  expect(list.length * ENTRY).toBeLessThan(CONFIG.maxBytes);
});

test('a thousand deaths a second for a minute come to the floor, and nobody else is shortened', () => {
  let largest = 0;
  let given = HOUR;
  let worst = 0;
  for (let ms = 0; ms < 60_000; ms += 10) {
    for (let death = 0; death < 10; death++) given = comeAndGo('noisy');
    if (ms === 500) worst = given;
    if (ms % 1000 === 0) expect(lifetimes.bound(of('quiet'), 0, HOUR)).toBe(HOUR);
    pass(10);
    largest = Math.max(largest, list.length);
  }
  expect(worst).toBeLessThan(MINUTE);
  expect(given).toBe(CONFIG.minX509SvidTtl);
  expect(largest * ENTRY).toBeLessThan(1.2 * 1024 * 1024);
  expect(lifetimes.status()).toMatchObject([{ entryId: 'noisy', ageMs: 0, lifetimeMs: 10 * SECOND }]);
  expect(lifetimes.status()[0]!.deathsPerSecond).toBeCloseTo(1000, -2);
  // One of the noisy ones that lives on: nobody of its age dies.
  expect(lifetimes.bound(of('noisy'), 20 * MINUTE, HOUR)).toBe(HOUR);
  expect(lifetimes.bound(of('noisy'), 5 * SECOND, HOUR)).toBe(HOUR);
});

test('those who die a little later, with their second certificate, are shortened as well', () => {
  let second = HOUR;
  for (let ms = 0; ms < 30_000; ms += 10) {
    for (const age of [0, 5 * SECOND]) {
      for (let death = 0; death < 5; death++) {
        second = lifetimes.bound(of('noisy'), age, HOUR);
        const dropped = lifetimes.listed(of('noisy'), age, 'died');
        list.push({ until: clock.monotonic() + second + 10 * SECOND, dropped });
      }
    }
    pass(10);
  }
  expect(second).toBe(CONFIG.minX509SvidTtl);
  expect(
    lifetimes
      .status()
      .map(({ ageMs }) => ageMs)
      .toSorted((a, b) => a - b),
  ).toEqual([0, MINUTE]);
  expect(lifetimes.bound(of('noisy'), 2 * MINUTE, HOUR)).toBe(HOUR);
});

test('it is over soon after the deaths are, once what is listed fits', () => {
  for (let ms = 0; ms < 10_000; ms += 10) {
    for (let death = 0; death < 10; death++) comeAndGo('noisy');
    pass(10);
  }
  expect(lifetimes.bound(of('noisy'), 0, HOUR)).toBe(CONFIG.minX509SvidTtl);
  pass(4 * MINUTE);
  expect(lifetimes.bound(of('noisy'), 0, HOUR)).toBe(HOUR);
});

test('a rate that fits with less gets as much as fits, and the list stays about its budget', () => {
  let given = 0;
  for (let ms = 0; ms < 600_000; ms += 50) {
    given = comeAndGo('busy');
    pass(50);
  }
  expect(given).toBeGreaterThanOrEqual(CONFIG.minX509SvidTtl);
  expect(given).toBeLessThan(3 * MINUTE);
  expect(list.length * ENTRY).toBeLessThan(1.3 * CONFIG.maxBytes);
});

test('a crowd that comes and dies only now and then is known by what it has left on the list', () => {
  for (let time = 0; time < 2 * HOUR; time += 5 * MINUTE) {
    for (let death = 0; death < 2000; death++) comeAndGo('batch');
    pass(5 * MINUTE);
    expect(lifetimes.bound(of('quiet'), 0, HOUR)).toBe(HOUR);
  }
  expect(list.length * ENTRY).toBeLessThan(3 * CONFIG.maxBytes);
});

describe('the budget', () => {
  test('is shared alike by those who want too much of it, and what wants little has it', () => {
    // Of 100 KiB one wants about 8 KiB, and two want much more than half of the rest.
    lifetimes.configure({ maxBytes: 100_000, minX509SvidTtl: SECOND });
    const deaths = { little: 1, much: 40, more: 80 };
    for (let ms = 0; ms < 60_000; ms += 1000) {
      for (const [entry, count] of Object.entries(deaths)) {
        lifetimes.bound(of(entry), 0, entry === 'little' ? 2 * MINUTE : HOUR);
        for (let death = 0; death < count; death++) lifetimes.listed(of(entry), 0, 'died')();
      }
      clock.advance(1000);
    }
    expect(lifetimes.bound(of('little'), 0, 2 * MINUTE)).toBe(2 * MINUTE);
    const [much, more] = [lifetimes.bound(of('much'), 0, HOUR), lifetimes.bound(of('more'), 0, HOUR)];
    expect((much + 10 * SECOND) / (more + 10 * SECOND)).toBeCloseTo(2, 1);
    // Two shares and what the little one takes are the whole.
    const taken = (40 * (much + 10 * SECOND) + 80 * (more + 10 * SECOND) + 130 * SECOND) * (ENTRY / 1000);
    expect(taken).toBeGreaterThan(90_000);
    expect(taken).toBeLessThan(115_000);
  });

  test('holds from the next certificate on when it is another, and so does the floor', () => {
    for (let death = 0; death < 1000; death++) comeAndGo('noisy');
    pass(50);
    const before = lifetimes.bound(of('noisy'), 0, HOUR);
    lifetimes.configure({ maxBytes: 4096, minX509SvidTtl: 30 * SECOND });
    expect(lifetimes.bound(of('noisy'), 0, HOUR)).toBe(30 * SECOND);
    lifetimes.configure({ maxBytes: 2 * 1024 * 1024, minX509SvidTtl: 30 * SECOND });
    expect(lifetimes.bound(of('noisy'), 0, HOUR)).toBeGreaterThan(before);
  });

  test('never gives more than was asked for, nor shortens what is shorter than the floor', () => {
    for (let ms = 0; ms < 10_000; ms += 10) {
      for (let death = 0; death < 10; death++) comeAndGo('noisy');
      pass(10);
    }
    expect(lifetimes.bound(of('noisy'), 0, 7 * SECOND)).toBe(7 * SECOND);
  });
});

test('what was withdrawn from the living is no death: it counts while it is listed, and for no rate', () => {
  const dropped = Array.from({ length: 1000 }, () => {
    lifetimes.bound(of('payments'), 0, HOUR);
    return lifetimes.listed(of('payments'), 0, 'withdrawn');
  });
  expect(lifetimes.bound(of('payments'), 0, HOUR)).toBe(HOUR);
  expect(lifetimes.status()).toEqual([]);
  for (const each of dropped) each();
});

test('entries that come and go leave nothing behind', () => {
  for (let entry = 0; entry < 5000; entry++) {
    lifetimes.bound(of(`entry-${entry}`), 0, HOUR);
    lifetimes.listed(of(`entry-${entry}`), 0, 'died')();
    clock.advance(SECOND);
  }
  clock.advance(10 * MINUTE);
  lifetimes.bound(of('last'), 0, HOUR);
  expect(lifetimes.classes).toBeLessThan(5);
});

test('an identity of a template does not pay for another one', () => {
  const noisy = { entryId: 'cluster', spiffeId: 'spiffe://example.org/ns/noisy' };
  for (let death = 0; death < 20_000; death++) {
    lifetimes.bound(noisy, 0, HOUR);
    lifetimes.listed(noisy, 0, 'died')();
    clock.advance(1);
  }
  expect(lifetimes.bound(noisy, 0, HOUR)).toBeLessThan(MINUTE);
  expect(lifetimes.bound({ ...noisy, spiffeId: 'spiffe://example.org/ns/quiet' }, 0, HOUR)).toBe(HOUR);
  expect(lifetimes.status()).toMatchObject([{ ...noisy, ageMs: 0 }]);
});
