import { describe, expect, it } from 'vitest';
import { Turns } from '../../../agent/attest/turns.ts';

const NEVER = new AbortController().signal;

function setUp(limit: number) {
  const turns = new Turns(limit);
  const started: string[] = [];
  const ends = new Map<string, () => void>();
  return {
    started,
    end: async (name: string) => {
      ends.get(name)?.();
      await Promise.resolve();
    },
    take: async (name: string, key: string, signal = NEVER) => {
      const end = await turns.take(key, signal);
      started.push(name);
      ends.set(name, end);
    },
  };
}

describe('turns', () => {
  it('are few, and one a key: who has many waiting does not hold up another', async () => {
    const { started, take, end } = setUp(2);
    const all = [
      take('a1', 'uid 1'),
      take('a2', 'uid 1'),
      take('a3', 'uid 1'),
      take('b1', 'uid 2'),
      take('c1', 'uid 3'),
    ];
    await Promise.all([all[0], all[3]]);
    expect(started).toEqual(['a1', 'b1']);
    await end('b1');
    await all[4];
    expect(started).toEqual(['a1', 'b1', 'c1']);
    await end('a1');
    await all[1];
    await end('a2');
    await all[2];
    expect(started).toEqual(['a1', 'b1', 'c1', 'a2', 'a3']);
  });

  it('are not kept for who has given up', async () => {
    const { started, take, end } = setUp(1);
    const gone = new AbortController();
    await take('a', 'uid 1');
    const waiting = take('b', 'uid 2', gone.signal);
    const next = take('c', 'uid 3');
    gone.abort(new Error('gone'));
    await expect(waiting).rejects.toThrow('gone');
    await end('a');
    await next;
    expect(started).toEqual(['a', 'c']);
    await expect(take('d', 'uid 4', gone.signal)).rejects.toThrow('gone');
  });
});
