import { describe, expect, it } from 'vitest';
import { OneAtATime } from '../../../agent/kernel/one-at-a-time.ts';

function work() {
  const runs: PromiseWithResolvers<number>[] = [];
  const oneAtATime = new OneAtATime(() => {
    const run = Promise.withResolvers<number>();
    runs.push(run);
    return run.promise;
  });
  return { runs, oneAtATime };
}

async function turns(count: number): Promise<void> {
  for (let left = count; left > 0; left -= 1) await Promise.resolve();
}

describe('work that runs one at a time', () => {
  it('starts at once when nothing runs', async () => {
    const { runs, oneAtATime } = work();
    const first = oneAtATime.ask();
    expect(runs).toHaveLength(1);
    runs[0]?.resolve(1);
    expect(await first).toBe(1);
    void oneAtATime.ask();
    expect(runs).toHaveLength(2);
  });

  it('never runs beside itself, at whatever moment somebody asks', async () => {
    let running = 0;
    let most = 0;
    const oneAtATime = new OneAtATime(async () => {
      running += 1;
      most = Math.max(most, running);
      await turns(3);
      running -= 1;
    });
    // Around the end of one run and the beginning of the next: each of these asks a turn later than the one before.
    for (let after = 0; after < 20; after += 1) {
      void oneAtATime.ask();
      void oneAtATime.ask();
      await turns(after);
      void oneAtATime.ask();
      await oneAtATime.idle();
      expect(running).toBe(0);
    }
    expect(most).toBe(1);
  });

  it('runs once more for all who ask meanwhile, afterwards', async () => {
    const { runs, oneAtATime } = work();
    const first = oneAtATime.ask();
    const later = [oneAtATime.ask(), oneAtATime.ask(), oneAtATime.ask()];
    expect(runs).toHaveLength(1);
    runs[0]?.resolve(1);
    expect(await first).toBe(1);
    expect(runs).toHaveLength(2);
    const last = oneAtATime.ask();
    runs[1]?.resolve(2);
    expect(await Promise.all(later)).toEqual([2, 2, 2]);
    expect(runs).toHaveLength(3);
    runs[2]?.resolve(3);
    expect(await last).toBe(3);
  });

  it('runs again after a failure, which is told to those alone who shared it', async () => {
    const { runs, oneAtATime } = work();
    const first = oneAtATime.ask();
    const second = oneAtATime.ask();
    runs[0]?.reject(new Error('no'));
    await expect(first).rejects.toThrow('no');
    runs[1]?.resolve(2);
    expect(await second).toBe(2);
  });

  it('is idle when the last run that was asked for is over', async () => {
    const { runs, oneAtATime } = work();
    await oneAtATime.idle();
    void oneAtATime.ask();
    void oneAtATime.ask();
    let idle = false;
    const wait = async () => {
      await oneAtATime.idle();
      idle = true;
    };
    const waited = wait();
    runs[0]?.resolve(1);
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    expect(idle).toBe(false);
    runs[1]?.resolve(2);
    await waited;
    expect(idle).toBe(true);
  });
});
