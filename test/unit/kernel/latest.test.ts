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
