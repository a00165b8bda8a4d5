import { describe, expect, it } from 'vitest';
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

describe('a directory that is slow or down', () => {
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
