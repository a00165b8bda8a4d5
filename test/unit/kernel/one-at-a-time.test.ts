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
