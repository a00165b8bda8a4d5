import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SvidFiles, X509_FILES } from '../../../agent/cli/svid-files.ts';
import { isMayflyError } from '../../../agent/kernel/errors.ts';
import { readStartTime } from '../../../agent/peer/system/proc.ts';

let parent: string;
let directory: string;

beforeEach(() => {
  // In memory where that is possible: each set is flushed to the disk.
  parent = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'mayfly-files-'));
  directory = join(parent, 'svid');
});

afterEach(() => rmSync(parent, { recursive: true, force: true }));

function set(n: number | string) {
  return { svid: `svid ${n}`, key: `key ${n}`, bundle: `bundle ${n}` };
}

function readSet() {
  return {
    svid: readFileSync(join(directory, 'svid.pem'), 'utf8'),
    key: readFileSync(join(directory, 'key.pem'), 'utf8'),
    bundle: readFileSync(join(directory, 'bundle.pem'), 'utf8'),
  };
}

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (isMayflyError(error, 'INVALID_USAGE')) return error.message;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('a written set', () => {
  test('is at three stable paths, the key for its owner alone, in a directory made for it', () => {
    const files = SvidFiles.open(directory, X509_FILES);
    files.write(set(1));
    expect(readSet()).toEqual(set(1));
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(statSync(files.path('key.pem')).mode & 0o777).toBe(0o600);
    expect(statSync(files.path('svid.pem')).mode & 0o777).toBe(0o644);
    expect(files.path('bundle.pem')).toBe(join(directory, 'bundle.pem'));
  });

  test('replaces the last one, of which nothing is left', () => {
    const files = SvidFiles.open(directory, X509_FILES);
    for (const n of [1, 2, 3]) files.write(set(n));
    expect(readSet()).toEqual(set(3));
    expect(readdirSync(directory).toSorted()).toEqual([
      expect.stringMatching(/^\.\.data$/),
      expect.stringMatching(/^\.\.mayfly-/),
      'bundle.pem',
      'key.pem',
      'svid.pem',
    ]);
  });

  test('is wiped whole, and can be written again', () => {
    const files = SvidFiles.open(directory, X509_FILES);
    files.wipe();
    files.write(set(1));
    files.wipe();
    files.wipe();
    expect(readdirSync(directory)).toEqual([]);
    files.write(set(2));
    expect(readSet()).toEqual(set(2));
  });

  test('leaves the other files of the directory alone', () => {
    mkdirSync(directory, { mode: 0o755 });
    writeFileSync(join(directory, 'other.pem'), 'other');
    const files = SvidFiles.open(directory, X509_FILES);
    files.write(set(1));
    files.wipe();
    expect(readdirSync(directory)).toEqual(['other.pem']);
  });

  test('is not changed when the next one cannot be written', () => {
    const files = SvidFiles.open(directory, X509_FILES);
    files.write(set(1));
    expect(() => files.write({ ...set(2), svid: 7 as unknown as string })).toThrow(TypeError);
    expect(readSet()).toEqual(set(1));
    expect(readdirSync(directory).filter((name) => name.startsWith('..mayfly-'))).toHaveLength(1);
  });
});

/** Reads sets in another process, by one look at the link for each; says `enough` after 25 of them, and then what it saw. */
const READER = `
  const { readFileSync, readlinkSync } = require('node:fs');
  const { join } = require('node:path');
  const directory = process.argv[1];
  const numberIn = (set, name) => readFileSync(join(directory, set, name), 'utf8').split(' ')[1];
  const seen = new Set();
  let torn = 0;
  const look = () => {
    for (let i = 0; i < 50; i += 1) {
      try {
        const set = readlinkSync(join(directory, '..data'));
        const numbers = ['svid.pem', 'key.pem', 'bundle.pem'].map((name) => numberIn(set, name));
        if (new Set(numbers).size > 1) torn += 1;
        seen.add(numbers[0]);
      } catch (error) {
        // That set has gone meanwhile: it looks for the next.
        if (error.code !== 'ENOENT') throw error;
      }
    }
    if (seen.size > 25) console.log(JSON.stringify({ torn }));
    else setImmediate(look);
  };
  look();`;

test('a reader never sees the key of one rotation with the certificate of another', async () => {
  const files = SvidFiles.open(directory, X509_FILES);
  files.write(set(0));
  const reader = spawn(process.execPath, ['-e', READER, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
  const said: string[] = [];
  reader.stdout.on('data', (text) => said.push(String(text)));
  const deadline = AbortSignal.timeout(10_000);
  let n = 0;
  for (; reader.exitCode === null && !deadline.aborted; n += 1) {
    files.write(set(n));
    if (n % 20 === 0) {
      // The stable paths lead to it at every moment.
      expect(readSet()).toEqual(set(n));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  reader.kill();
  expect(said.join('')).toBe('{"torn":0}\n');
  expect(n).toBeGreaterThan(25);
});

describe('a directory is refused', () => {
  test.each(['svid.pem', 'key.pem', 'bundle.pem'])('that has a %s of somebody else, which stays', (name) => {
    mkdirSync(directory, { mode: 0o700 });
    writeFileSync(join(directory, name), 'foreign');
    expect(refusal(() => SvidFiles.open(directory, X509_FILES))).toBe(
      `${directory} cannot hold the identity, it has a ${name} that this program did not write: remove it, or use another directory`,
    );
    expect(readFileSync(join(directory, name), 'utf8')).toBe('foreign');
    expect(readdirSync(directory)).toEqual([name]);
  });

  test('that is a Kubernetes volume', () => {
    mkdirSync(join(directory, '..2026_01_01'), { recursive: true, mode: 0o700 });
    symlinkSync('..2026_01_01', join(directory, '..data'));
    expect(refusal(() => SvidFiles.open(directory, X509_FILES))).toContain(
      'it has a ..data that this program did not write',
    );
  });

  test.each([0o770, 0o702, 0o1777])('whose mode is %o: others could swap the key', (mode) => {
    mkdirSync(directory);
    chmodSync(directory, mode);
    expect(refusal(() => SvidFiles.open(directory, X509_FILES))).toContain(
      'others may write to it: use a directory of your own',
    );
  });

  test('that another living process keeps; not once it has ended', async () => {
    const keeper = spawn('sleep', ['60']);
    try {
      await once(keeper, 'spawn');
      const version = `..mayfly-${keeper.pid}-${readStartTime(keeper.pid!)}-1`;
      mkdirSync(join(directory, version), { recursive: true, mode: 0o700 });
      symlinkSync(version, join(directory, '..data'));
      for (const name of ['svid.pem', 'key.pem', 'bundle.pem']) symlinkSync(`..data/${name}`, join(directory, name));
      expect(refusal(() => SvidFiles.open(directory, X509_FILES))).toContain(
        `process ${keeper.pid} keeps an identity there`,
      );
      keeper.kill();
      await once(keeper, 'exit');
      SvidFiles.open(directory, X509_FILES).write(set(1));
      expect(readSet()).toEqual(set(1));
      expect(existsSync(join(directory, version))).toBe(false);
    } finally {
      keeper.kill();
    }
  });

  test('that is a file', () => {
    writeFileSync(directory, '');
    expect(() => SvidFiles.open(directory, X509_FILES)).toThrow(
      expect.objectContaining({
        code: 'PERMISSION_MISSING',
        message: expect.stringContaining('use another directory'),
      }),
    );
  });
});

test('what another process has put in place since is not wiped', () => {
  const files = SvidFiles.open(directory, X509_FILES);
  files.write(set(1));
  rmSync(join(directory, '..data'));
  mkdirSync(join(directory, '..mayfly-1-1-1'));
  symlinkSync('..mayfly-1-1-1', join(directory, '..data'));
  files.wipe();
  expect(lstatSync(join(directory, '..data')).isSymbolicLink()).toBe(true);
});

test.runIf(process.getuid?.() === 0 && spawnSync('mount', ['--version']).status === 0)(
  'a full disk leaves the last set, and says so (needs root)',
  () => {
    mkdirSync(directory, { mode: 0o700 });
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=700', 'none', directory]).status !== 0) return;
    try {
      const files = SvidFiles.open(directory, X509_FILES);
      files.write(set(1));
      expect(() => files.write({ ...set(2), bundle: 'x'.repeat(256 * 1024) })).toThrow(
        expect.objectContaining({ code: 'DISK_FULL' }),
      );
      expect(readSet()).toEqual(set(1));
      files.write(set(3));
      expect(readSet()).toEqual(set(3));
    } finally {
      spawnSync('umount', [directory]);
    }
  },
);
