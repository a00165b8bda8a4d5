import { describe, expect, test } from 'vitest';
import type { Clock } from '../../../agent/kernel/clock.ts';
import type { Depth } from '../../../agent/peer/continuity.ts';
import { Looks, type Visible } from '../../../agent/peer/looks.ts';

/** A clock on which looks take time. */
class WorkingClock implements Clock {
  time = 0;
  #due: { readonly time: number; readonly run: () => void } | undefined;

  now = () => this.time;
  monotonic = () => this.time;
  at = () => ({ cancel: () => undefined });
  after(ms: number, run: () => void) {
    this.#due = { time: this.time + ms, run };
    return { cancel: () => void (this.#due = undefined) };
  }

  pass(ms: number): void {
    const end = this.time + ms;
    for (let due = this.#due; due !== undefined && due.time <= end; due = this.#due) {
      this.#due = undefined;
      this.time = Math.max(this.time, due.time);
      due.run();
    }
    this.time = Math.max(this.time, end);
  }
}

function world(count: number, cost: Readonly<Record<Depth, number>>, told = false) {
  const clock = new WorkingClock();
  const seen = Array.from({ length: count }, (): { at: number; depth: Depth }[] => []);
  const processes = new Map<number, Visible>(
    seen.map((looks, pid) => [
      pid,
      {
        look(depth) {
          clock.time += cost[depth];
          looks.push({ at: clock.time, depth });
        },
      },
    ]),
  );
  const looks = new Looks(processes, clock, () => told);
  looks.start();
  return { clock, looks, processes, seen };
}

/** The longest time between two looks at one process. */
function longestGap(seen: readonly (readonly { at: number; depth: Depth }[])[], depth?: Depth): number {
  const gaps = seen.flatMap((looks) => {
    const times = looks.filter((look) => depth === undefined || look.depth === depth).map(({ at }) => at);
    return times.slice(1).map((at, index) => at - (times[index] ?? 0));
  });
  return gaps.reduce((longest, gap) => Math.max(longest, gap), 0);
}

describe('looks', () => {
  test.each([1, 7, 8, 10, 100, 5000])(
    'are full at each of %d processes within half a second, when they cost little',
    (count) => {
      const { clock, looks, seen } = world(count, { whole: 0.002, full: 0.002, quick: 0.001, told: 0.001 });
      clock.pass(10_000);
      expect(longestGap(seen)).toBeLessThan(500);
      expect(seen.flat().every(({ depth }) => depth === 'full')).toBe(true);
      expect(looks.percent).toBeLessThan(5);
      expect(looks.fullWithin).toBeLessThan(500);
    },
  );

  test.each([
    [false, 'quick'],
    [true, 'told'],
  ] as const)(
    'that cost much are full as often as there is time for, and come as often (told of an execve: %s)',
    (told, depth) => {
      const { clock, looks, seen } = world(5000, { whole: 0.01, full: 0.01, quick: 0.002, told: 0.002 }, told);
      clock.pass(10_000);
      for (const looks of seen) looks.splice(0);
      clock.pass(20_000);
      expect(longestGap(seen)).toBeLessThan(500);
      expect(longestGap(seen, 'full')).toBeLessThan(looks.fullWithin + 100);
      expect(looks.fullWithin).toBe(5 * 440);
      expect(looks.percent).toBeLessThan(5);
      expect(new Set(seen.flat().map((look) => look.depth))).toEqual(new Set(['full', depth]));
    },
  );

  test('come as often at those that stay while others come and go', () => {
    const { clock, processes, seen } = world(500, { whole: 0.001, full: 0.001, quick: 0.001, told: 0.001 });
    const staying = seen.filter((_, pid) => pid % 25 === 0);
    const others = Array.from(processes).filter(([pid]) => pid % 25 !== 0);
    for (let turn = 0; turn < 60; turn += 1) {
      for (const [pid, process] of others) {
        if ((pid + turn) % 7 < turn % 5) processes.delete(pid);
        else processes.set(pid, process);
      }
      clock.pass(73);
    }
    expect(longestGap(staying)).toBeLessThan(500);
  });

  test('are full again for all when few are left', () => {
    const { clock, looks, processes } = world(5000, { whole: 0.01, full: 0.01, quick: 0.002, told: 0.002 });
    clock.pass(10_000);
    for (let pid = 100; pid < 5000; pid += 1) processes.delete(pid);
    clock.pass(2000);
    expect(looks.fullWithin).toBe(440);
  });

  test('rest while there is nobody to look at, and after the end', () => {
    const { clock, looks, processes, seen } = world(3, { whole: 0, full: 0, quick: 0, told: 0 });
    clock.pass(1000);
    processes.clear();
    clock.pass(1000);
    const before = seen.flat().length;
    clock.pass(10_000);
    expect(seen.flat()).toHaveLength(before);
    looks.close();
    looks.start();
    clock.pass(1000);
    expect(looks.percent).toBe(0);
    expect(seen.flat()).toHaveLength(before);
  });
});
