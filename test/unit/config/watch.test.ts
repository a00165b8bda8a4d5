import { mkdir, mkdtemp, readdir, readFile, readlink, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Watcher, watchPaths } from '../../../agent/config/watch.ts';
import { SystemClock } from '../../../agent/kernel/clock.ts';
import { silentLog } from './log.ts';

let root: string;
let watchers: Watcher[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'mayfly-watch-'));
  watchers = [];
});

afterEach(async () => {
  await Promise.all(watchers.map((watcher) => watcher.close()));
  await rm(root, { recursive: true });
});

/** Counts changes, and waits for the next one with a deadline. */
class Changes {
  count = 0;
  #wake = () => {};

  readonly note = (): void => {
    this.count += 1;
    this.#wake();
  };

  async after(action: () => Promise<unknown>): Promise<void> {
    const before = this.count;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const deadline = setTimeout(() => reject(new Error('no change was noticed within 5 s')), 5000);
    this.#wake = resolve;
    await action();
    if (this.count === before) await promise;
    clearTimeout(deadline);
  }
}

async function watching(...patterns: string[]): Promise<Changes> {
  const changes = new Changes();
  const watcher = watchPaths(
    patterns.map((pattern) => join(root, pattern)),
    { clock: new SystemClock(), log: silentLog, settle: 30 },
    changes.note,
  );
  watchers.push(watcher);
  await watcher.ready;
  return changes;
}

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text);
}

/** What the kubelet does: a new folder, a link to it, renamed over the one that everything goes through. */
async function swapConfigMap(folder: string, generation: number, keepOld: boolean): Promise<void> {
  const old = await readlink(join(root, folder, '..data'));
  await write(`${folder}/..${generation}/mayfly.yaml`, `generation: ${generation}`);
  await symlink(`..${generation}`, join(root, folder, '..data_tmp'));
  await rename(join(root, folder, '..data_tmp'), join(root, folder, '..data'));
  if (!keepOld) await rm(join(root, folder, old), { recursive: true });
}

async function makeConfigMap(folder: string): Promise<void> {
  await write(`${folder}/..1/mayfly.yaml`, 'generation: 1');
  await symlink('..1', join(root, folder, '..data'));
  await symlink('..data/mayfly.yaml', join(root, folder, 'mayfly.yaml'));
}

describe('a file', () => {
  test('is noticed when edited, replaced by rename, deleted and written again', async () => {
    await write('mayfly.yaml', 'a: 1');
    const changes = await watching('mayfly.yaml');
    await changes.after(() => write('mayfly.yaml', 'a: 2'));
    for (const text of ['a: 3', 'a: 4']) {
      await write('.mayfly.yaml.swp', text);
      await changes.after(() => rename(join(root, '.mayfly.yaml.swp'), join(root, 'mayfly.yaml')));
    }
    await changes.after(() => rm(join(root, 'mayfly.yaml')));
    await changes.after(() => write('mayfly.yaml', 'a: 5'));
    await changes.after(() => write('mayfly.yaml', 'a: 6'));
  });

  test('is noticed when another of the same size and time takes its place', async () => {
    await write('mayfly.yaml', 'a: 1');
    await write('next.yaml', 'a: 2');
    for (const name of ['mayfly.yaml', 'next.yaml']) await utimes(join(root, name), 1000, 1000);
    const changes = await watching('mayfly.yaml');
    await changes.after(() => rename(join(root, 'next.yaml'), join(root, 'mayfly.yaml')));
  });

  test('is noticed when it appears in folders that did not exist', async () => {
    const changes = await watching('some/where/deep/mayfly.yaml');
    await changes.after(() => write('some/where/deep/mayfly.yaml', 'a: 1'));
    await sleep(100);
    await changes.after(() => write('some/where/deep/mayfly.yaml', 'a: 2'));
  });

  test('is noticed when its folder, or one above, is replaced by another', async () => {
    await write('above/folder/mayfly.yaml', 'a: 1');
    const changes = await watching('above/folder/mayfly.yaml');
    await write('above/new/mayfly.yaml', 'a: 2');
    await changes.after(async () => {
      await rename(join(root, 'above/folder'), join(root, 'above/old'));
      await rename(join(root, 'above/new'), join(root, 'above/folder'));
    });
    await changes.after(() => write('above/folder/mayfly.yaml', 'a: 3'));
    await write('above2/folder/mayfly.yaml', 'a: 4');
    await changes.after(async () => {
      await rename(join(root, 'above'), join(root, 'gone'));
      await rename(join(root, 'above2'), join(root, 'above'));
    });
    await changes.after(() => write('above/folder/mayfly.yaml', 'a: 5'));
  });

  test('is noticed when its folder is deleted and made again at once, and after that', async () => {
    await write('folder/mayfly.yaml', 'a: 1');
    const changes = await watching('folder/mayfly.yaml');
    for (const round of [1, 2, 3]) {
      await changes.after(async () => {
        await rm(join(root, 'folder'), { recursive: true });
        await write('folder/mayfly.yaml', `round: ${round}`);
      });
      await sleep(100);
      await changes.after(() => write('folder/mayfly.yaml', `round: ${round}, again`));
      await sleep(100);
    }
  });

  test('does not wake anybody when only its neighbours change', async () => {
    await write('mayfly.yaml', 'a: 1');
    const changes = await watching('mayfly.yaml');
    await write('neighbour.yaml', 'b: 1');
    await write('folder/mayfly.yaml', 'c: 1');
    await sleep(150);
    expect(changes.count).toBe(0);
    await changes.after(() => write('mayfly.yaml', 'a: 2'));
  });
});

describe('symbolic links', () => {
  test.each([true, false])('a ConfigMap is noticed at each swap, its old folder kept: %s', async (keepOld) => {
    await makeConfigMap('config');
    const changes = await watching('config/mayfly.yaml');
    for (const generation of [2, 3, 4]) {
      await changes.after(() => swapConfigMap('config', generation, keepOld));
      expect(await readFile(join(root, 'config/mayfly.yaml'), 'utf8')).toBe(`generation: ${generation}`);
      await sleep(100);
    }
  });

  test('a ConfigMap that a glob leads to is noticed', async () => {
    await makeConfigMap('config');
    const changes = await watching('config/*.yaml');
    await changes.after(() => swapConfigMap('config', 2, false));
  });

  test('a link far away on the way is noticed when it is swapped, and what it leads to then', async () => {
    await write('releases/1/etc/mayfly.yaml', 'a: 1');
    await write('releases/2/etc/mayfly.yaml', 'a: 2');
    await symlink('1', join(root, 'releases/current'));
    await symlink(join(root, 'releases/current/etc'), join(root, 'etc'));
    const changes = await watching('etc/mayfly.yaml');
    await symlink('2', join(root, 'releases/next'));
    await changes.after(() => rename(join(root, 'releases/next'), join(root, 'releases/current')));
    await changes.after(() => write('releases/2/etc/mayfly.yaml', 'a: 3'));
  });

  test('a link beside the file is noticed when it is swapped, and what it leads to then', async () => {
    await write('1.txt', 'a: 1');
    await write('2.txt', 'a: 2');
    await symlink('1.txt', join(root, 'mayfly.yaml'));
    const changes = await watching('mayfly.yaml');
    await symlink('2.txt', join(root, 'next.yaml'));
    await changes.after(() => rename(join(root, 'next.yaml'), join(root, 'mayfly.yaml')));
    await changes.after(() => write('2.txt', 'a: 3'));
  });

  test('a link that leads to itself does no harm', async () => {
    await symlink('loop.yaml', join(root, 'loop.yaml'));
    const changes = await watching('loop.yaml');
    await changes.after(() => rm(join(root, 'loop.yaml')));
  });
});

describe('a glob', () => {
  test('notices files that come, change and go in folders that come later', async () => {
    const changes = await watching('entries/*.yaml');
    await changes.after(() => write('entries/a.yaml', '1'));
    await sleep(100);
    await changes.after(() => write('entries/b.yaml', '1'));
    await changes.after(() => write('entries/b.yaml', '2'));
    await changes.after(() => rm(join(root, 'entries'), { recursive: true }));
    await changes.after(() => write('entries/c.yaml', '1'));
  });

  test('of any depth notices files in new folders', async () => {
    await write('entries/a.yaml', '1');
    const changes = await watching('entries/**/*.yaml');
    await changes.after(() => write('entries/one/two/b.yaml', '1'));
    await sleep(100);
    await changes.after(() => write('entries/one/two/b.yaml', '2'));
  });
});

test('a burst is told once', async () => {
  await write('entries/a.yaml', '0');
  const changes = await watching('entries/*.yaml');
  await changes.after(() => Promise.all(Array.from({ length: 50 }, (_, index) => write(`entries/${index}.yaml`, 'x'))));
  await sleep(150);
  expect(changes.count).toBeLessThanOrEqual(2);
});

test('what never falls quiet is told all the same', async () => {
  await write('mayfly.yaml', '0');
  const changes = await watching('mayfly.yaml');
  const end = Date.now() + 5000;
  for (let turn = 0; changes.count === 0 && Date.now() < end; turn += 1) {
    await write('mayfly.yaml', `${turn}`);
    await sleep(10);
  }
  expect(changes.count).toBeGreaterThan(0);
});

test('nothing is told, and nothing is left, after close', async () => {
  await write('entries/a.yaml', '0');
  const before = await inotifyWatches();
  const changes = await watching('entries/*.yaml');
  expect(await inotifyWatches()).toBeGreaterThan(before);
  await write('entries/a.yaml', '1');
  await Promise.all([watchers[0]!.close(), watchers[0]!.close()]);
  const count = changes.count;
  expect(await inotifyWatches()).toBe(before);
  await write('entries/a.yaml', '2');
  await sleep(100);
  expect(changes.count).toBe(count);
});

test('a watch that is closed before it is ready ends', async () => {
  const watcher = watchPaths([join(root, 'a')], { clock: new SystemClock(), log: silentLog }, () => {});
  await watcher.close();
  await watcher.ready;
});

async function inotifyWatches(): Promise<number> {
  const infos = await Promise.all(
    (await readdir('/proc/self/fdinfo')).map((fd) => readFile(`/proc/self/fdinfo/${fd}`, 'utf8').catch(() => '')),
  );
  return infos.join('').match(/^inotify wd/gm)?.length ?? 0;
}
