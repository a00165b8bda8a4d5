import { describe, expect, it, vi } from 'vitest';
import { NameCache } from '../../../../agent/attest/unix/name-cache.ts';
import { ManualClock } from '../../../support/manual-clock.ts';

/** A directory whose answers a test gives. */
class Directory {
  readonly asked: string[] = [];
  readonly open = new Map<string, PromiseWithResolvers<string | undefined>>();

  lookup(kind: 'user' | 'group', id: number, signal: AbortSignal): Promise<string | undefined> {
    const key = `${kind}:${id}`;
    const answer = Promise.withResolvers<string | undefined>();
    this.asked.push(key);
    this.open.set(key, answer);
    signal.addEventListener('abort', () => answer.reject(signal.reason));
    return answer.promise;
  }
}

function setUp(options: { size?: number } = {}) {
  const clock = new ManualClock();
  const directory = new Directory();
  return { clock, directory, names: new NameCache(directory, { clock, ...options }) };
}

describe('a name', () => {
  it('is asked for once by callers who come together, and believed for a minute', async () => {
    const { clock, directory, names } = setUp();
    const both = Promise.all([names.user(7), names.user(7)]);
    directory.open.get('user:7')?.resolve('seven');
    expect(await both).toEqual(['seven', 'seven']);
    clock.advance(59_999);
    expect(await names.user(7)).toBe('seven');
    expect(directory.asked).toEqual(['user:7']);
    clock.advance(1);
    const renamed = names.user(7);
    directory.open.get('user:7')?.resolve('septem');
    expect(await renamed).toBe('septem');
    expect(clock.alarms).toBe(0);
  });

  it('of a user is not that of a group', async () => {
    const { directory, names } = setUp();
    const [user, group] = [names.user(7), names.group(7)];
    directory.open.get('user:7')?.resolve('seven');
    directory.open.get('group:7')?.resolve('sevens');
    expect([await user, await group]).toEqual(['seven', 'sevens']);
  });

  it('that nobody has is remembered, and is no shortcoming', async () => {
    const { directory, names } = setUp();
    const name = names.group(7);
    directory.open.get('group:7')?.resolve(undefined);
    expect(await name).toBeUndefined();
    expect(await names.group(7)).toBeUndefined();
    expect(directory.asked).toHaveLength(1);
    expect(names.shortcomings()).toEqual([]);
  });

  it('that was not used for longest is forgotten above the bound', async () => {
    const { directory, names } = setUp({ size: 2 });
    for (const id of [1, 2, 3]) {
      const name = names.user(id);
      directory.open.get(`user:${id}`)?.resolve(String(id));
      await name;
    }
    expect(await names.user(3)).toBe('3');
    void names.user(1);
    expect(directory.asked).toEqual(['user:1', 'user:2', 'user:3', 'user:1']);
  });
});

describe('the names of many groups', () => {
  it('are asked for one after the other, those that are known at once', async () => {
    const { directory, names } = setUp();
    const known = names.group(2);
    directory.open.get('group:2')?.resolve('two');
    await known;
    const three = names.groups([1, 2, 3]);
    expect(directory.asked).toEqual(['group:2', 'group:1']);
    directory.open.get('group:1')?.resolve('one');
    await vi.waitFor(() => expect(directory.asked).toEqual(['group:2', 'group:1', 'group:3']));
    directory.open.get('group:3')?.resolve(undefined);
    expect(await three).toEqual(['one', 'two', undefined]);
    expect(names.shortcomings()).toEqual([]);
  });

  it('take no longer together than one, and what is known is not left out for that', async () => {
    const { clock, directory, names } = setUp();
    const known = names.group(9);
    directory.open.get('group:9')?.resolve('nine');
    await known;
    const all = names.groups([1, 2, 3, 9]);
    await clock.elapse(500);
    expect(await all).toEqual([undefined, undefined, undefined, 'nine']);
    expect(directory.asked).toEqual(['group:9', 'group:1']);
    expect(names.shortcomings()).toEqual([
      expect.stringMatching(/unix:group.*last: "group 2: no answer within 500 ms"/),
    ]);
  });

  it('that nobody has make none forgotten that somebody has', async () => {
    const { directory, names } = setUp({ size: 2 });
    for (const id of [7, 1, 2, 3]) {
      const name = names.group(id);
      directory.open.get(`group:${id}`)?.resolve(id === 7 ? 'seven' : undefined);
      await name;
    }
    expect(await names.group(7)).toBe('seven');
    expect(directory.asked).toHaveLength(4);
  });
});

describe('a directory that is slow or down', () => {
  it.each([
    ['does not answer', undefined],
    ['fails', new Error('EIO')],
  ])('takes no name back while it %s', async (_, failure) => {
    const { clock, directory, names } = setUp();
    const first = names.user(7);
    directory.open.get('user:7')?.resolve('seven');
    await first;
    clock.advance(60_000);
    for (const at of [60_000, 90_000]) {
      const later = names.user(7);
      if (failure === undefined) await clock.elapse(500);
      else directory.open.get('user:7')?.reject(failure);
      expect([at, await later]).toEqual([at, 'seven']);
      await clock.elapse(30_000);
    }
    expect(names.shortcomings().join()).toContain('user 7');
    const gone = names.user(7);
    directory.open.get('user:7')?.resolve(undefined);
    expect(await gone).toBeUndefined();
  });

  it('keeps nobody waiting for more than half a second, and serves who comes later', async () => {
    const { clock, directory, names } = setUp();
    const first = names.user(7);
    await clock.elapse(400);
    const second = names.user(7);
    await clock.elapse(100);
    expect([await first, await second]).toEqual([undefined, undefined]);
    // At once: the question is still open.
    expect(await names.user(7)).toBeUndefined();
    expect(directory.asked).toHaveLength(1);
    expect(names.shortcomings()).toEqual([expect.stringMatching(/unix:user.*once.*user 7: no answer within 500 ms/)]);
    directory.open.get('user:7')?.resolve('seven');
    await clock.elapse(0);
    expect(await names.user(7)).toBe('seven');
    expect(clock.alarms).toBe(0);
  });

  it('is given up after ten seconds, left alone for five, and asked again', async () => {
    const { clock, directory, names } = setUp();
    void names.user(7);
    await clock.elapse(10_000);
    expect(await names.user(7)).toBeUndefined();
    await clock.elapse(4999);
    expect(await names.user(7)).toBeUndefined();
    expect(directory.asked).toHaveLength(1);
    await clock.elapse(1);
    const again = names.user(7);
    directory.open.get('user:7')?.resolve('seven');
    expect(await again).toBe('seven');
  });

  it('is told for an hour, with how often', async () => {
    const { clock, directory, names } = setUp();
    for (const id of [1, 2]) {
      const name = names.group(id);
      directory.open.get(`group:${id}`)?.reject(new Error('EIO'));
      expect(await name).toBeUndefined();
    }
    expect(names.shortcomings()).toEqual([expect.stringMatching(/unix:group.*\(2 times, last: "group 2: EIO"\)$/)]);
    clock.advance(3_600_001);
    expect(names.shortcomings()).toEqual([]);
  });

  it('does not outlive close', async () => {
    const { clock, names } = setUp();
    const waiting = names.user(7);
    names.close();
    expect(await waiting).toBeUndefined();
    expect(await names.user(8)).toBeUndefined();
    expect(names.shortcomings()).toEqual([]);
    expect(clock.alarms).toBe(0);
  });
});
