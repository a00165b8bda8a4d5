import { describe, expect, it } from 'vitest';
import { SystemClock } from '../../../agent/kernel/clock.ts';

describe('the system clock', () => {
  it('rings in order of time, later and never synchronously', async () => {
    const clock = new SystemClock();
    const rung: string[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    const now = clock.now();
    clock.at(now + 30, () => resolve());
    clock.at(now + 20, () => rung.push('b'));
    clock.at(now - 5000, () => rung.push('a'));
    expect(rung).toEqual([]);
    const keepAlive = setInterval(() => undefined, 1000);
    await promise;
    clearInterval(keepAlive);
    expect(rung).toEqual(['a', 'b']);
    expect(clock.now()).toBeGreaterThanOrEqual(now + 30);
  });

  it('does not ring what was cancelled, by an alarm of the same moment either', async () => {
    const clock = new SystemClock();
    const rung: string[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    const now = clock.now();
    const second = clock.at(now + 11, () => rung.push('second'));
    clock.at(now + 10, () => {
      rung.push('first');
      second.cancel();
    });
    clock.at(now + 40, () => resolve());
    const keepAlive = setInterval(() => undefined, 1000);
    await promise;
    clearInterval(keepAlive);
    expect(rung).toEqual(['first']);
  });

  it('takes a time further away than a timer can count', () => {
    const clock = new SystemClock();
    let rung = false;
    const alarm = clock.at(clock.now() + 2 ** 40, () => {
      rung = true;
    });
    alarm.cancel();
    expect(rung).toBe(false);
  });
});
