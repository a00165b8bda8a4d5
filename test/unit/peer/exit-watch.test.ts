import { closeSync } from 'node:fs';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ExitWatch } from '../../../agent/peer/exit-watch.ts';
import { openPidfd } from '../../../agent/peer/system/pidfd.ts';
import { descriptors, Processes, until } from '../../support/processes.ts';

const processes = new Processes();
afterAll(() => processes.clean());

describe('the exit watch', () => {
  let watch: ExitWatch;
  beforeEach(() => {
    watch = new ExitWatch();
  });
  afterEach(() => watch.close());

  test('tells of 10,000 pidfds whose processes exit, each once, and not of one that lives', async () => {
    const [survivor, ...mortals] = await Promise.all(Array.from({ length: 21 }, () => processes.sleeper()));
    const told = new Map<number, number>();
    const pidfds = mortals.flatMap(({ pid }) => Array.from({ length: 500 }, () => openPidfd(pid)));
    const add = (pidfd: number) => watch.add(pidfd, () => told.set(pidfd, (told.get(pidfd) ?? 0) + 1));
    const removals = pidfds.map(add);
    const survives = openPidfd(survivor?.pid ?? 0);
    removals.push(add(survives));
    expect(watch.size).toBe(10_001);
    await Promise.all(mortals.map((mortal) => mortal.kill()));
    await until(() => told.size === 10_000, 'all exits are told', 2000);
    expect([...told.values()].every((times) => times === 1)).toBe(true);
    expect(told.has(survives)).toBe(false);
    expect(watch.size).toBe(1);
    for (const remove of removals) remove();
    for (const pidfd of [...pidfds, survives]) closeSync(pidfd);
    expect(watch.size).toBe(0);
  });

  test('tells of one that was dead already', async () => {
    const sleeper = await processes.sleeper();
    const pidfd = openPidfd(sleeper.pid);
    await sleeper.kill();
    const remove = await new Promise<() => void>((resolve) => {
      const remove: () => void = watch.add(pidfd, () => resolve(remove));
    });
    remove();
    closeSync(pidfd);
  });

  test('does not tell of what was taken back, even in the last moment', async () => {
    const sleeper = await processes.sleeper();
    const pidfds = [openPidfd(sleeper.pid), openPidfd(sleeper.pid)] as const;
    let told = 0;
    const remove = watch.add(pidfds[0], () => {
      told += 1;
    });
    const other = new Promise<void>((resolve) => watch.add(pidfds[1], resolve));
    process.kill(sleeper.pid, 'SIGKILL');
    remove();
    remove();
    await other;
    expect(told).toBe(0);
    for (const pidfd of pidfds) closeSync(pidfd);
  });

  test('closes once and for all, with its thread and descriptors', async () => {
    const own = new ExitWatch();
    // Their threads have opened by then what they open for themselves.
    await until(() => [own, watch].every(({ events }) => !events.reason.endsWith('yet')), 'the threads run');
    const open = descriptors(/eventpoll|eventfd/);
    const sleeper = await processes.sleeper();
    const pidfd = openPidfd(sleeper.pid);
    let told = false;
    const remove = own.add(pidfd, () => {
      told = true;
    });
    const closed = own.close();
    expect(own.close()).toBe(closed);
    remove();
    await closed;
    await sleeper.kill();
    expect(told).toBe(false);
    // Threads of Node have such descriptors too, so this counts what went away with this one.
    expect(descriptors(/eventpoll|eventfd/)).toBeLessThanOrEqual(open - 2);
    closeSync(pidfd);
  });
});

describe('a program with an exit watch ends at once', () => {
  const program = new URL('../../support/exit-ways.ts', import.meta.url);

  test.each([
    ['nothing left to do', 0],
    ['close', 0],
    ['process.exit', 3],
    ['exception', 1],
    ['rejection', 1],
    ['SIGTERM', 'SIGTERM'],
    ['abort', 'SIGABRT'],
    ['without the exit event', 4],
  ])('by %s', { concurrent: true }, async (way, expected) => {
    for (const moment of ['starting', 'running']) {
      const child = await processes.script(program, [way, moment]);
      expect(await child.line()).toBe('leaving');
      const left = performance.now();
      expect(await child.exited).toBe(expected);
      expect(performance.now() - left).toBeLessThan(2000);
      expect(child.stderr.includes('on purpose')).toBe(expected === 1);
    }
  });
});
