import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { compiledCodeFolder } from '../../agent/compile-cache.js';

let parent: string;
let modules: string;
let own: string;

beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'mayfly-cache-'));
  modules = join(parent, 'node_modules');
  own = join(modules, '.cache', 'mayfly');
  mkdirSync(modules, { mode: 0o755 });
});

afterEach(() => rmSync(parent, { recursive: true }));

describe('compiled code is kept', () => {
  test('where nobody else can write', () => {
    expect(compiledCodeFolder(modules)).toBe(own);
    expect(statSync(own).mode & 0o777).toBe(0o700);
    expect(compiledCodeFolder(modules)).toBe(own);
  });

  test('whatever the umask', () => {
    const before = process.umask(0);
    try {
      // What is made on the way must not be open either.
      expect(compiledCodeFolder(modules)).toBe(own);
      expect(statSync(join(modules, '.cache')).mode & 0o022).toBe(0);
    } finally {
      process.umask(before);
    }
  });
});

describe('compiled code is not kept', () => {
  test('where there is no node_modules, or it is a link', () => {
    expect(compiledCodeFolder(join(parent, 'none'))).toBeUndefined();
    symlinkSync(modules, join(parent, 'link'));
    expect(compiledCodeFolder(join(parent, 'link'))).toBeUndefined();
  });

  test.each([
    ['node_modules', () => modules],
    ['.cache', () => join(modules, '.cache')],
    ['its own folder', () => own],
  ])('where everybody can write to %s', (_name, folder) => {
    mkdirSync(own, { recursive: true });
    chmodSync(own, 0o700);
    chmodSync(folder(), 0o777);
    expect(compiledCodeFolder(modules)).toBeUndefined();
  });

  test('where its own folder is a link, or open to a group', () => {
    mkdirSync(own, { recursive: true });
    chmodSync(own, 0o770);
    expect(compiledCodeFolder(modules)).toBeUndefined();
    rmSync(own, { recursive: true });
    symlinkSync(parent, own);
    expect(compiledCodeFolder(modules)).toBeUndefined();
  });

  test.runIf(process.getuid?.() === 0)('where it belongs to somebody else (needs root)', () => {
    chownSync(modules, 12_345, 12_345);
    expect(compiledCodeFolder(modules)).toBeUndefined();
    chownSync(modules, 0, 0);
    mkdirSync(own, { recursive: true, mode: 0o700 });
    chownSync(own, 12_345, 12_345);
    expect(compiledCodeFolder(modules)).toBeUndefined();
  });
});
