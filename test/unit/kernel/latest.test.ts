import { describe, expect, it } from 'vitest';
import { Latest } from '../../../agent/kernel/latest.ts';

function following<T>(latest: Latest<T>) {
  const stop = new AbortController();
  return { stop, values: latest.follow(stop.signal) };
}

describe('Latest', () => {
  it('gives the value that is there at once, then each newer one', async () => {
    const latest = new Latest<number>();
    latest.set(1);
    const { values } = following(latest);
    expect((await values.next()).value).toBe(1);
    const next = values.next();
    latest.set(2);
    expect((await next).value).toBe(2);
  });

  it('keeps only the newest for a follower that is slow', async () => {
    const latest = new Latest<number>();
    const { values } = following(latest);
    latest.set(1);
    expect((await values.next()).value).toBe(1);
    for (let value = 2; value <= 1000; value += 1) latest.set(value);
    expect((await values.next()).value).toBe(1000);
    const waiting = values.next();
    expect(latest.followers).toBe(1);
    latest.set(1001);
    expect((await waiting).value).toBe(1001);
  });

  it('ends a follower when its signal aborts, and forgets it', async () => {
    const latest = new Latest<number>();
    const { stop, values } = following(latest);
    const waiting = values.next();
    expect(latest.followers).toBe(1);
    stop.abort();
    expect((await waiting).done).toBe(true);
    expect(latest.followers).toBe(0);
  });

  it('throws the reason of its end at every follower, also at one that comes later, and delivers nothing any more', async () => {
    const latest = new Latest<number>();
    const early = following(latest);
    const waiting = early.values.next();
    latest.set(1);
    latest.end(new Error('gone'));
    latest.set(2);
    await expect(waiting).rejects.toThrow('gone');
    await expect(following(latest).values.next()).rejects.toThrow('gone');
    expect(latest.value).toBeUndefined();
  });
});

describe('two that are followed together', () => {
  function followingBoth<A, B>(first: Latest<A>, second: Latest<B>) {
    const stop = new AbortController();
    return { stop, values: Latest.followBoth(first, second, stop.signal) };
  }

  it('give both values once both have one, then both at a newer value of either', async () => {
    const [first, second] = [new Latest<number>(), new Latest<string>()];
    const { values } = followingBoth(first, second);
    const waiting = values.next();
    first.set(1);
    // Nothing is told of the one alone.
    expect(await Promise.race([waiting, new Promise((resolve) => setImmediate(() => resolve('nothing')))])).toBe(
      'nothing',
    );
    second.set('a');
    expect((await waiting).value).toEqual([1, 'a']);
    const next = values.next();
    second.set('b');
    expect((await next).value).toEqual([1, 'b']);
    first.set(2);
    second.set('c');
    expect((await values.next()).value).toEqual([2, 'c']);
  });

  it('end as either ends, and let go of both when the signal aborts', async () => {
    const [first, second] = [new Latest<number>(), new Latest<number>()];
    first.set(1);
    second.set(1);
    const { stop, values } = followingBoth(first, second);
    await values.next();
    const waiting = values.next();
    expect([first.followers, second.followers]).toEqual([1, 1]);
    stop.abort();
    expect((await waiting).done).toBe(true);
    expect([first.followers, second.followers]).toEqual([0, 0]);

    const other = followingBoth(first, second);
    await other.values.next();
    const ending = other.values.next();
    first.end(new Error('gone'));
    await expect(ending).rejects.toThrow('gone');
    expect(second.followers).toBe(0);
  });
});
