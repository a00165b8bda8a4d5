import { closeSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { knownStatus } from '../../../../agent/peer/system/file-status.ts';
import { openPlainPath } from '../../../../agent/peer/system/plain-path.ts';
import { descriptors } from '../../../support/processes.ts';

const directory = realpathSync(mkdtempSync(join(tmpdir(), 'mayfly-path-')));
afterAll(() => rmSync(directory, { recursive: true }));
const at = (name: string): string => join(directory, name);

mkdirSync(at('folder'));
writeFileSync(at('folder/program'), 'x'.repeat(7));
symlinkSync('folder', at('link'));
symlinkSync('program', at('folder/other'));

test('a file is found at its own path, and is what Node says that it is', async () => {
  const descriptor = await openPlainPath(at('folder/program'));
  const { dev, ino, size, mtimeNs, ctimeNs } = statSync(at('folder/program'), { bigint: true });
  expect(descriptor).toBeGreaterThan(2);
  expect(knownStatus(descriptor ?? -1)).toEqual({
    dev,
    ino,
    size,
    mtimeNs,
    ctimeNs,
    mount: expect.stringMatching(/^\d+$/),
  });
  closeSync(descriptor ?? -1);
});

test.each([
  ['where nothing is', at('folder/nothing')],
  ['below a file', at('folder/program/x')],
  ['over a link', at('link/program')],
  ['where a link is', at('folder/other')],
  ['over a link of procfs', `/proc/self/root${at('folder/program')}`],
  ['over a link of procfs to itself', '/proc/self/exe'],
  ['that is longer than any', `/${'a/'.repeat(2500)}`],
])('none is found at a path %s', async (_, path) => {
  const before = descriptors(/./);
  expect(await openPlainPath(path)).toBeUndefined();
  expect(descriptors(/./)).toBe(before);
});
