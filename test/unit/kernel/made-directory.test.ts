import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeDirectory } from '../../../agent/kernel/made-directory.ts';

let parent: string;

beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'mayfly-made-'));
});

afterEach(() => rmSync(parent, { recursive: true }));

describe('a directory', () => {
  test('is made with those above it, which all get the mode, and the topmost is told', () => {
    expect(makeDirectory(join(parent, 'a/b/c'), 0o700)).toBe(join(parent, 'a'));
    for (const path of ['a', 'a/b', 'a/b/c']) expect(statSync(join(parent, path)).mode & 0o777, path).toBe(0o700);
  });

  test('that is there stays as it is, also behind a link', () => {
    mkdirSync(join(parent, 'a'), { mode: 0o711 });
    symlinkSync('a', join(parent, 'link'));
    expect(makeDirectory(join(parent, 'a'), 0o700)).toBeUndefined();
    expect(makeDirectory(join(parent, 'link'), 0o700)).toBeUndefined();
    expect(makeDirectory(join(parent, 'link/b'), 0o700)).toBe(join(parent, 'link/b'));
    expect(statSync(join(parent, 'a')).mode & 0o777).toBe(0o711);
    expect(makeDirectory('/', 0o700)).toBeUndefined();
  });

  test('is not made where a file is, or is above it', () => {
    writeFileSync(join(parent, 'file'), '');
    expect(() => makeDirectory(join(parent, 'file'), 0o700)).toThrow('EEXIST');
    expect(() => makeDirectory(join(parent, 'file/a'), 0o700)).toThrow('ENOTDIR');
  });

  test('is not made where the system makes none, and nobody waits for it', () => {
    expect(() => makeDirectory('/proc/mayfly', 0o700)).toThrow('ENOENT');
    expect(() => makeDirectory('/proc/mayfly/a/b', 0o700)).toThrow('ENOENT');
  });
});
