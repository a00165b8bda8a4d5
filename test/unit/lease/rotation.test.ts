import { assert, double, integer, property } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { renewalTime, retryDelay, reuseUntil } from '../../../agent/lease/rotation.ts';

const share = double({ min: 0, max: 0.999999, noNaN: true });

describe('rotation', () => {
  it('is due when 45 to 55 % of the lifetime is left', () => {
    assert(
      property(share, integer({ min: 1000, max: 10 ** 9 }), (random, lifetime) => {
        const renewal = renewalTime(0, lifetime, random);
        const left = lifetime - renewal;
        // Whole milliseconds: rounding moves it by half of one at the most.
        expect(renewal).toBe(Math.round(renewal));
        expect(left).toBeGreaterThanOrEqual(0.45 * lifetime - 0.501);
        expect(left).toBeLessThanOrEqual(0.55 * lifetime + 0.501);
      }),
    );
    expect(renewalTime(1000, 2000, 0)).toBe(1550);
  });

  it('hands a token out again for half of its life', () => {
    expect(reuseUntil(1000, 301_000)).toBe(151_000);
  });

  it('retries ever later, but fits four tries into what is left', () => {
    expect(retryDelay(1, 3_600_000, 0.5)).toBe(500);
    expect(retryDelay(4, 3_600_000, 0.5)).toBe(4000);
    expect(retryDelay(100, 3_600_000, 0.5)).toBe(30_000);
    expect(retryDelay(100, 8000, 0.5)).toBe(2000);
    expect(retryDelay(100, 0, 0.5)).toBe(30_000);
    assert(
      property(
        integer({ min: 1, max: 10 ** 6 }),
        integer({ min: -1000, max: 10 ** 9 }),
        share,
        (failures, left, random) => {
          const delay = retryDelay(failures, left, random);
          expect(delay).toBeGreaterThanOrEqual(250);
          expect(delay).toBeLessThanOrEqual(37_500);
        },
      ),
    );
  });
});
