import { mkdir, mkdtemp, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { unixVocabulary } from '../../../agent/attest/unix/unix-vocabulary.ts';
import type { InvalidConfig } from '../../../agent/config/problem.ts';
import { SystemClock } from '../../../agent/kernel/clock.ts';
import { parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import type { EntrySet } from '../../../agent/registry/entry-set.ts';
import { type EntryFilesConfig, FileEntries } from '../../../agent/registry/file-entries.ts';
import { MemoryLog } from '../../support/memory-log.ts';

let directory: string;
let log: MemoryLog;
const clock = new SystemClock();
const opened: FileEntries[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mayfly-entries-'));
  log = new MemoryLog();
});

afterEach(async () => {
  for (const source of opened.splice(0)) await source.close();
  await rm(directory, { recursive: true });
});

function config(...patterns: string[]): EntryFilesConfig {
  return {
    patterns: patterns.map((pattern) => join(directory, pattern)),
    trustDomain: parseTrustDomain('example.org'),
    requireOwner: false,
    vocabulary: unixVocabulary({ path: true, sha256: true }),
    federated: new Set(),
  };
}

async function open(...patterns: string[]): Promise<FileEntries> {
  const source = await FileEntries.open(config(...patterns), clock, log);
  opened.push(source);
  return source;
}

function fileOf(...ids: string[]): string {
  const entries = ids.map(
    (id) => `  - { id: ${id}, spiffe_id: "spiffe://example.org/${id}", selectors: [ "unix:uid:1" ] }\n`,
  );
  return `entries:\n${entries.join('')}`;
}

function write(name: string, text: string): Promise<void> {
  return writeFile(join(directory, name), text);
}

function ids(set: EntrySet | undefined): readonly string[] | undefined {
  return set?.entries.map(({ id }) => id);
}

/** Waits for a set of just these entries. */
async function comesTo(source: FileEntries, ...wanted: string[]): Promise<void> {
  const seen: unknown[] = [];
  for await (const set of source.latest.follow(AbortSignal.timeout(5000))) {
    if (ids(set)?.join() === wanted.join()) return;
    seen.push(ids(set));
  }
  throw new Error(
    `wanted ${wanted.join()}, there were ${JSON.stringify(seen)}, then ${JSON.stringify(source.state())}`,
  );
}

async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error('it did not come to hold within 5 s');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe('entry files', () => {
  it('are all that the globs name, as one set', async () => {
    await mkdir(join(directory, 'more'));
    await write('a.yaml', fileOf('z', 'b'));
    await write('more/b.yaml', fileOf('a'));
    await write('c.txt', 'no entries');
    const source = await open('*.yaml', 'more/*.yaml');
    expect(ids(source.latest.value)).toEqual(['a', 'b', 'z']);
    expect(source.state()).toMatchObject({ generation: 1, lastError: undefined });
    expect(source.warnings()).toEqual([]);
  });

  it('may be none yet, in a directory that appears later', async () => {
    const source = await open('entries/*.yaml');
    expect(ids(source.latest.value)).toEqual([]);
    await mkdir(join(directory, 'entries'));
    await write('entries/a.yaml', fileOf('a'));
    await comesTo(source, 'a');
  });

  it('have each id once, and both places are told', async () => {
    await write('a.yaml', fileOf('x', 'y'));
    await write('b.yaml', fileOf('z', 'y'));
    await expect(open('*.yaml')).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: `${directory}/b.yaml:3:11: entries[1].id: y is the id of ${directory}/a.yaml:3 too; rename one of them`,
    });
  });

  it('that are a copy of another are told entry by entry', async () => {
    const ids = Array.from({ length: 300 }, (_, index) => `e${index}`);
    await write('a.yaml', fileOf(...ids));
    await write('b.yaml', fileOf(...ids));
    const refused: unknown = await open('*.yaml').catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'INVALID_CONFIG' });
    const { problems } = refused as InvalidConfig;
    expect(problems.map(({ source, line }) => [source, line])).toEqual(
      ids.map((_, index) => [`${directory}/b.yaml`, index + 2]),
    );
  });

  it('tell everything that is wrong in any of them', async () => {
    await write('a.yaml', 'entries: [ { id: a } ]\n');
    await write('b.yaml', 'entrys: []\n');
    await expect(open('*.yaml')).rejects.toThrow(
      /a\.yaml:1:12: entries\[0\]\.spiffe_id: is missing[^]*b\.yaml:1:1: entrys: is no known key; did you mean entries\?/,
    );
  });
});

describe('a bad entry file at the start', () => {
  it.each<[string, (path: string) => Promise<unknown>, RegExp]>([
    ['a directory', (path) => mkdir(path), /a\.yaml: is a directory; name a regular file$/],
    [
      '50 MB',
      (path) => writeFile(path, '').then(() => truncate(path, 50_000_000)),
      /a\.yaml: is larger than 4194304 bytes/,
    ],
    ['tabs', (path) => writeFile(path, 'entries:\n\t- id: a\n'), /a\.yaml:2:1: .*tab/i],
    ['the same key twice', (path) => writeFile(path, 'entries: []\nentries: []\n'), /a\.yaml:2:1: .*entries/],
    ['nothing', (path) => writeFile(path, ''), /a\.yaml:1:1: /],
    [
      'an explosion of anchors',
      (path) => writeFile(path, 'a: &a [x, x]\nb: &b [*a, *a]\nentries: [*b, *b]\n'),
      /a\.yaml:1:7: a: the anchor &a is not allowed/,
    ],
  ])('that is %s is refused with its place', async (_, make, message) => {
    await make(join(directory, 'a.yaml'));
    await expect(open('*.yaml')).rejects.toThrow(message);
    await expect(open('*.yaml')).rejects.toMatchObject({ code: 'INVALID_CONFIG' });
  });

  it('that is named and missing is refused', async () => {
    await expect(open('none.yaml')).rejects.toThrow(`${directory}/none.yaml: does not exist`);
  });
});

describe('a change', () => {
  it('is taken over, and an edit that means the same wakes nobody', async () => {
    await write('a.yaml', fileOf('a'));
    const source = await open('*.yaml');
    const { version } = source.latest;
    await write('a.yaml', `# about a\n${fileOf('a')}`);
    expect(await source.reload()).toBe(true);
    expect(source.latest.version).toBe(version);
    await write('b.yaml', fileOf('b'));
    await comesTo(source, 'a', 'b');
    await rm(join(directory, 'a.yaml'));
    await comesTo(source, 'b');
  });

  it('is taken over through the swap of a ConfigMap', async () => {
    for (const [version, id] of [
      ['..1', 'a'],
      ['..2', 'b'],
    ] as const) {
      await mkdir(join(directory, version));
      await write(join(version, 'entries.yaml'), fileOf(id));
    }
    await symlink('..1', join(directory, '..data'));
    await symlink('..data/entries.yaml', join(directory, 'entries.yaml'));
    const source = await open('*.yaml');
    expect(ids(source.latest.value)).toEqual(['a']);
    await symlink('..2', join(directory, '..data_tmp'));
    await rename(join(directory, '..data_tmp'), join(directory, '..data'));
    await comesTo(source, 'b');
  });

  it('that is bad leaves every entry in force, is told, and its repair is taken over', async () => {
    await write('a.yaml', fileOf('a'));
    await write('b.yaml', fileOf('b'));
    const source = await open('*.yaml');
    await Promise.all([write('a.yaml', fileOf('a', 'c')), write('b.yaml', 'entries: [ nonsense ]\n')]);
    await until(() => source.state().lastError?.message.includes('nonsense') === true);
    expect(ids(source.latest.value)).toEqual(['a', 'b']);
    expect(source.state().lastError?.message).toContain(`${directory}/b.yaml:1:12: entries[0]`);
    expect(log.events).toContain('entries.reload_failed');
    await write('b.yaml', fileOf('d'));
    await comesTo(source, 'a', 'c', 'd');
    expect(source.state().lastError).toBeUndefined();
  });

  it('of the configuration moves the watch', async () => {
    await write('a.yaml', fileOf('a'));
    await write('b.conf', fileOf('b'));
    const source = await open('*.yaml');
    expect(await source.configure(config('*.conf'))).toBe(true);
    expect(ids(source.latest.value)).toEqual(['b']);
    await write('c.conf', fileOf('c'));
    await comesTo(source, 'b', 'c');
  });

  it('of the configuration checks the same files by its rules, and what they break stays in force', async () => {
    await write('a.yaml', fileOf('a'));
    const source = await open('*.yaml');
    expect(await source.configure({ ...config('*.yaml'), requireOwner: true })).toBe(false);
    expect(source.state().lastError?.message).toContain('has no owner, and require_owner is set');
    expect(ids(source.latest.value)).toEqual(['a']);
    expect(await source.configure(config('*.yaml'))).toBe(true);
    expect(source.state().lastError).toBeUndefined();
  });

  it('after close is not noticed', async () => {
    await write('a.yaml', fileOf('a'));
    const source = await open('*.yaml');
    await source.close();
    await source.close();
    await write('a.yaml', fileOf('b'));
    expect(await source.reload()).toBe(false);
    expect(ids(source.latest.value)).toEqual(['a']);
  });
});
