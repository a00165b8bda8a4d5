import { beforeEach, expect, test } from 'vitest';
import { Reloadable } from '../../../agent/config/reloadable.ts';
import { MayflyError } from '../../../agent/kernel/errors.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { keptLog } from './log.ts';

/** Loads that the test lets go one by one. */
class Loads {
  readonly pending: PromiseWithResolvers<string>[] = [];
  readonly saw: (string | undefined)[] = [];
  underWay = 0;
  most = 0;

  readonly load = async (current: string | undefined): Promise<string> => {
    this.saw.push(current);
    this.underWay += 1;
    this.most = Math.max(this.most, this.underWay);
    const pending = Promise.withResolvers<string>();
    this.pending.push(pending);
    try {
      return await pending.promise;
    } finally {
      this.underWay -= 1;
    }
  };
}

let clock: ManualClock;
let log: ReturnType<typeof keptLog>;
let loads: Loads;
let reloadable: Reloadable<string>;

beforeEach(() => {
  clock = new ManualClock(1_000_000);
  log = keptLog();
  loads = new Loads();
  reloadable = new Reloadable({ name: 'entries', load: loads.load, digest: (value) => value, clock, log });
});

async function started(value: string): Promise<void> {
  const start = reloadable.start();
  loads.pending[0]!.resolve(value);
  await start;
}

test('the first load gives the value, and throws what went wrong as it is', async () => {
  const error = new MayflyError('INVALID_CONFIG', 'wrong');
  const start = reloadable.start();
  loads.pending[0]!.reject(error);
  await expect(start).rejects.toBe(error);
  expect(reloadable.latest.value).toBeUndefined();
  expect(reloadable.state()).toEqual({ generation: 0, loadedAt: 0, lastError: undefined, failures: 0 });

  const again = reloadable.start();
  loads.pending[1]!.resolve('one');
  expect(await again).toBe('one');
  expect(reloadable.latest.value).toBe('one');
  expect(reloadable.state()).toEqual({ generation: 1, loadedAt: 1_000_000, lastError: undefined, failures: 0 });
});

test('a reload swaps, is told, and is given what is in use', async () => {
  await started('one');
  clock.advance(5000);
  const reload = reloadable.reload();
  loads.pending[1]!.resolve('two');
  expect(await reload).toBe(true);
  expect(loads.saw).toEqual([undefined, 'one']);
  expect(reloadable.latest.value).toBe('two');
  expect(reloadable.state()).toEqual({ generation: 2, loadedAt: 1_005_000, lastError: undefined, failures: 0 });
  expect(log.lines).toMatchObject([{ level: 'info', event: 'entries.reloaded', fields: { generation: 2 } }]);
});

test('an equal value swaps nothing and wakes nobody', async () => {
  await started('one');
  clock.advance(5000);
  const reload = reloadable.reload();
  loads.pending[1]!.resolve('one');
  expect(await reload).toBe(true);
  expect(reloadable.state()).toEqual({ generation: 1, loadedAt: 1_000_000, lastError: undefined, failures: 0 });
  expect(log.lines).toEqual([]);
});

test('a failure keeps the last good value and is visible until the next success', async () => {
  await started('one');
  clock.advance(5000);
  const failing = reloadable.reload();
  loads.pending[1]!.reject(new MayflyError('INVALID_CONFIG', 'a.yaml:1:1: is empty'));
  expect(await failing).toBe(false);
  expect(reloadable.latest.value).toBe('one');
  expect(reloadable.state()).toEqual({
    generation: 1,
    loadedAt: 1_000_000,
    lastError: { at: 1_005_000, message: 'a.yaml:1:1: is empty' },
    failures: 1,
  });
  expect(log.lines).toMatchObject([{ level: 'error', event: 'entries.reload_failed' }]);
  expect(log.lines[0]!.message).toContain('a.yaml:1:1: is empty');

  // The same good value as before: nothing is swapped, and the failure is over.
  const mended = reloadable.reload();
  loads.pending[2]!.resolve('one');
  await mended;
  expect(reloadable.state()).toEqual({ generation: 1, loadedAt: 1_000_000, lastError: undefined, failures: 1 });
});

test('loads run one at a time, and what is asked for meanwhile is one more that starts after', async () => {
  await started('one');
  const first = reloadable.reload();
  const more = [reloadable.reload(), reloadable.reload(), reloadable.reload()];
  expect(loads.pending).toHaveLength(2);
  loads.pending[1]!.resolve('two');
  await first;
  await expect.poll(() => loads.pending.length).toBe(3);
  loads.pending[2]!.resolve('three');
  expect(await Promise.all(more)).toEqual([true, true, true]);
  expect(loads.pending).toHaveLength(3);
  expect(loads.most).toBe(1);
  expect(reloadable.latest.value).toBe('three');
});

test('close waits for what is under way, which then swaps nothing, and nothing starts after it', async () => {
  await started('one');
  const running = reloadable.reload();
  const waiting = reloadable.reload();
  const close = reloadable.close();
  expect(await Promise.race([close, Promise.resolve('under way')])).toBe('under way');
  loads.pending[1]!.resolve('two');
  await close;
  expect(await Promise.all([running, waiting, reloadable.reload()])).toEqual([false, false, false]);
  expect(reloadable.latest.value).toBe('one');
  expect(loads.pending).toHaveLength(2);
  await reloadable.close();
});
