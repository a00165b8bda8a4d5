import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expandGlobs, survey } from '../../../agent/config/glob.ts';
import { unprivileged } from './unprivileged.ts';

const root = mkdtempSync(join(tmpdir(), 'mayfly-glob-'));

beforeAll(() => {
  for (const path of [
    'a.yaml',
    'b.yaml',
    'c.yml',
    '.hidden.yaml',
    'a+b.yaml',
    'one/x.yaml',
    'one/two/y.yaml',
    '.git/z.yaml',
    'map/..1/m.yaml',
  ]) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), '');
  }
  mkdirSync(join(root, 'folder.yaml'));
  symlinkSync('..1', join(root, 'map/..data'));
  symlinkSync('..data/m.yaml', join(root, 'map/m.yaml'));
  symlinkSync('..', join(root, 'one/up'));
  symlinkSync(join(root, 'one'), join(root, 'link'));
  symlinkSync('nowhere', join(root, 'dangling.yaml'));
});
afterAll(() => rmSync(root, { recursive: true }));

async function expand(...patterns: string[]): Promise<readonly string[]> {
  const files = await expandGlobs(patterns.map((pattern) => join(root, pattern)));
  return files.map((file) => file.slice(root.length + 1));
}

test('a star stands for the characters of one name, and not for a leading dot', async () => {
  expect(await expand('*.yaml')).toEqual(['a+b.yaml', 'a.yaml', 'b.yaml', 'dangling.yaml', 'folder.yaml']);
  expect(await expand('.*.yaml')).toEqual(['.hidden.yaml']);
  expect(await expand('a*')).toEqual(['a+b.yaml', 'a.yaml']);
  expect(await expand('*/*.yaml')).toEqual(['link/x.yaml', 'map/m.yaml', 'one/x.yaml']);
});

test('a question mark stands for one character, and no other character means anything but itself', async () => {
  expect(await expand('?.yaml')).toEqual(['a.yaml', 'b.yaml']);
  expect(await expand('a+?.yaml')).toEqual(['a+b.yaml']);
  expect(await expand('?+b?yaml')).toEqual(['a+b.yaml']);
});

test('two stars stand for folders of any depth, through no link and into no hidden one', async () => {
  expect(await expand('**/?.yaml')).toEqual(['a.yaml', 'b.yaml', 'map/m.yaml', 'one/two/y.yaml', 'one/x.yaml']);
  expect(await expand('one/**')).toEqual(['one/two', 'one/two/y.yaml', 'one/up', 'one/x.yaml']);
});

test('files are sorted and none is there twice', async () => {
  expect(await expand('b.yaml', '*.yaml', 'a.yaml', 'one/../a.yaml')).toEqual(await expand('*.yaml'));
});

test('a path without a wildcard is returned, missing or not; a pattern that nothing matches is nothing', async () => {
  expect(await expand('missing.yaml')).toEqual(['missing.yaml']);
  expect(await expand('missing/*.yaml', 'a.yaml/*.yaml')).toEqual([]);
});

test('links are followed, those to themselves not for ever', async () => {
  expect(await expand('link/up/link/up/b*')).toEqual(['link/up/link/up/b.yaml']);
  expect(await expand('one/up/one/*/one/x.yaml')).toEqual(['one/up/one/up/one/x.yaml']);
});

test('the survey tells each folder on the way, and which names in it matter', async () => {
  const { directories } = await survey([join(root, 'map/m.yaml'), join(root, 'later/*.yaml')], () => {});
  expect([...directories.keys()].filter((path) => path.startsWith(root)).toSorted()).toEqual([
    root,
    join(root, 'map'),
    join(root, 'map/..1'),
  ]);
  expect(directories.has('/')).toBe(true);
  expect(directories.get(root)?.concerns('map')).toBe(true);
  expect(directories.get(root)?.concerns('later')).toBe(true);
  expect(directories.get(root)?.concerns('other')).toBe(false);
  expect(directories.get(join(root, 'map'))?.concerns('..data')).toBe(true);
  expect(directories.get(join(root, 'map/..1'))?.concerns('m.yaml')).toBe(true);
  expect(directories.get(join(root, 'map/..1'))?.concerns('other.yaml')).toBe(false);
});

test('a folder that may not be listed is told, and not taken for an empty one', async () => {
  chmodSync(root, 0o755);
  mkdirSync(join(root, 'locked'));
  writeFileSync(join(root, 'locked/a.yaml'), '');
  chmodSync(join(root, 'locked'), process.getuid?.() === 0 ? 0o711 : 0o111);
  await unprivileged(async () => {
    await expect(expandGlobs([join(root, 'locked/*.yaml')])).rejects.toThrow(
      `${join(root, 'locked')}: cannot be searched for files: EACCES`,
    );
    await expect(expandGlobs([join(root, '**/*.yaml')])).rejects.toThrow('cannot be searched for files: EACCES');
    expect(await expand('locked/a.yaml')).toEqual(['locked/a.yaml']);
    const { directories } = await survey([join(root, 'locked/a.yaml')], () => {});
    expect(directories.has(root)).toBe(true);
    expect(directories.has(join(root, 'locked'))).toBe(false);
  });
  chmodSync(join(root, 'locked'), 0o700);
});
