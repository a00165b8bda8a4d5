import { mkdir, mkdtemp, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Config } from '../../../agent/config/config.ts';
import { reloadableConfig, reloadOnChange } from '../../../agent/config/reload.ts';
import type { Reloadable } from '../../../agent/config/reloadable.ts';
import type { Watcher } from '../../../agent/config/watch.ts';
import { SystemClock } from '../../../agent/kernel/clock.ts';
import { keptLog } from './log.ts';

let folder: string;
let path: string;
let config: Reloadable<Config>;
let watcher: Watcher;
let log: ReturnType<typeof keptLog>;

/** The folder is mounted as Kubernetes mounts a ConfigMap. */
async function swap(generation: number, text: string): Promise<void> {
  const old = await readlink(join(folder, '..data')).catch(() => undefined);
  await mkdir(join(folder, `..${generation}`));
  await writeFile(join(folder, `..${generation}/mayfly.yaml`), text);
  await symlink(`..${generation}`, join(folder, '..data_tmp'));
  await rename(join(folder, '..data_tmp'), join(folder, '..data'));
  if (old !== undefined) await rm(join(folder, old), { recursive: true });
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mayfly-reload-'));
  path = join(folder, 'mayfly.yaml');
  await swap(1, 'trust_domain: example.org\n');
  await symlink('..data/mayfly.yaml', path);
  log = keptLog();
  const clock = new SystemClock();
  config = reloadableConfig({ path, env: {} }, { clock, log });
  await config.start();
  watcher = reloadOnChange(config, [path], { clock, log, settle: 20 });
  await watcher.ready;
});

afterEach(async () => {
  await watcher.close();
  await config.close();
  await rm(folder, { recursive: true });
});

function events(): readonly string[] {
  return log.lines.map(({ event }) => event);
}

test('the configuration follows its file: good, bad, unallowed, good', async () => {
  expect(config.state().generation).toBe(1);
  expect(log.lines).toEqual([]);

  await swap(2, 'trust_domain: example.org\nlog_level: debug\n');
  await expect.poll(() => config.latest.value?.logLevel, { timeout: 5000 }).toBe('debug');
  expect(config.state()).toMatchObject({ generation: 2, lastError: undefined });

  await swap(3, 'trust_domain: example.org\nlog_level: [\n');
  await expect.poll(() => config.state().lastError?.message, { timeout: 5000 }).toContain(`${path}:3:1: is no YAML`);
  expect(config.latest.value?.logLevel).toBe('debug');

  await swap(4, 'trust_domain: other.org\nlog_level: warn\n');
  await expect
    .poll(() => config.state().lastError?.message, { timeout: 5000 })
    .toContain(`${path}:1:15: trust_domain cannot change while the agent runs`);
  expect(config.latest.value).toMatchObject({ logLevel: 'debug', trustDomain: 'example.org' });
  expect(config.state().generation).toBe(2);

  await swap(5, 'trust_domain: example.org\nlog_level: warn\n');
  await expect.poll(() => config.latest.value?.logLevel, { timeout: 5000 }).toBe('warn');
  expect(config.state()).toMatchObject({ generation: 3, lastError: undefined });
  expect([...new Set(events())]).toEqual(['config.reloaded', 'config.reload_failed']);
});

test('a file that is gone keeps the last good configuration', async () => {
  await rm(path);
  await expect.poll(() => config.state().lastError?.message, { timeout: 5000 }).toBe(`${path}: does not exist`);
  expect(config.latest.value?.trustDomain).toBe('example.org');
  await writeFile(path, 'trust_domain: example.org\nlog_level: error\n');
  await expect.poll(() => config.latest.value?.logLevel, { timeout: 5000 }).toBe('error');
});

test('what was written between the load and the watch is noticed', async () => {
  await watcher.close();
  await swap(2, 'trust_domain: example.org\nlog_level: error\n');
  watcher = reloadOnChange(config, [path], { clock: new SystemClock(), log });
  await watcher.ready;
  expect(config.latest.value?.logLevel).toBe('error');
});
