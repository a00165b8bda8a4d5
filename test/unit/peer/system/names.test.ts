import { execFileSync } from 'node:child_process';
import { afterAll, describe, expect, test } from 'vitest';
import { Names } from '../../../../agent/peer/system/names.ts';
import { Processes } from '../../../support/processes.ts';

const processes = new Processes();
afterAll(() => processes.clean());
const never = new AbortController().signal;

describe('names', () => {
  test('of users and groups are those of the system', async () => {
    const names = new Names();
    const uid = process.getuid?.() ?? 0;
    const gid = process.getgid?.() ?? 0;
    expect(await names.lookup('user', uid, never)).toBe(execFileSync('id', ['-un'], { encoding: 'utf8' }).trim());
    expect(await names.lookup('group', gid, never)).toBe(execFileSync('id', ['-gn'], { encoding: 'utf8' }).trim());
    expect(await names.lookup('user', 0, never)).toBe('root');
  });

  test('of nobody are undefined, not an error', async () => {
    const names = new Names();
    expect(await names.lookup('user', 3_999_999_999, never)).toBeUndefined();
    expect(await names.lookup('group', 3_999_999_999, never)).toBeUndefined();
  });

  test('are asked one after the other', async () => {
    let asking = 0;
    let most = 0;
    const names = new Names(async (kind, id) => {
      asking += 1;
      most = Math.max(most, asking);
      await new Promise((resolve) => setImmediate(resolve));
      asking -= 1;
      if (id === 3) throw new Error('the directory is down');
      return `${kind}${id}`;
    });
    const answers = await Promise.allSettled([1, 2, 3, 4].map((id) => names.lookup('user', id, never)));
    expect(answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : String(answer.reason)))).toEqual([
      'user1',
      'user2',
      'Error: the directory is down',
      'user4',
    ]);
    expect(most).toBe(1);
    expect(process.listeners('exit').filter((listener) => listener.name === 'exitNow')).toEqual([]);
  });

  test('that are waited for no longer are not asked, even behind one that hangs', async () => {
    const asked: number[] = [];
    const hung = Promise.withResolvers<string>();
    const names = new Names((_, id) => {
      asked.push(id);
      return hung.promise;
    });
    const deadline = new AbortController();
    const lookups = [1, 2, 3].map((id) => names.lookup('user', id, deadline.signal));
    const last = names.lookup('user', 4, never);
    deadline.abort(new Error('too late'));
    for (const lookup of lookups) await expect(lookup).rejects.toThrowError('too late');
    await expect(names.lookup('user', 5, deadline.signal)).rejects.toThrowError('too late');
    expect(asked).toEqual([1]);
    hung.resolve('answer');
    expect(await last).toBe('answer');
    expect(asked).toEqual([1, 4]);
  });

  test('do not hold up the end of the program when a directory hangs', async () => {
    const child = await processes.script(new URL('../../../support/hanging-lookup.ts', import.meta.url));
    expect(await child.line()).toBe('leaving');
    const left = performance.now();
    expect(await child.exited).toBe(5);
    expect(performance.now() - left).toBeLessThan(2000);
  });
});
