import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LocalAuthority } from '../../../agent/authority/local.ts';
import type { ErrorCode } from '../../../agent/kernel/errors.ts';
import { parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import type { TrustBundle } from '../../../agent/svid/trust-bundle.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLog } from '../../support/memory-log.ts';

const DAY = 86_400_000;
const IS_ROOT = process.getuid?.() === 0;

let dataDir: string;
let directory: string;
let file: string;

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'mayfly-keys-'));
  directory = join(dataDir, 'authority');
  file = join(directory, 'keys.json');
});

afterEach(() => rmSync(dataDir, { recursive: true }));

/** Starts an authority as the agent does, and stops it. */
async function start(trustDomain = 'example.org', at = dataDir): Promise<TrustBundle | undefined> {
  const authority = LocalAuthority.open({
    trustDomain: parseTrustDomain(trustDomain),
    dataDir: at,
    keyType: 'ec-p256',
    rootTtl: 30 * DAY,
    caTtl: DAY,
    jwtKeyTtl: DAY,
    witKeyTtl: DAY,
    nameConstraint: false,
    clock: new ManualClock(),
    log: new MemoryLog(),
  });
  const bundle = authority.bundle.value;
  await authority.close();
  return bundle;
}

async function refusesToStart(code: ErrorCode, message: string | RegExp, trustDomain?: string): Promise<void> {
  const matching = typeof message === 'string' ? expect.stringContaining(message) : expect.stringMatching(message);
  await expect(start(trustDomain)).rejects.toMatchObject({ code, message: matching });
}

describe('a damaged or foreign file stops the start, and is left as it is', () => {
  test.each<[string, (text: string) => string, string]>([
    ['empty', () => '', 'is damaged: it is no JSON'],
    ['cut short', (text) => text.slice(0, text.length / 2), 'is damaged: it is no JSON'],
    ['of zeros', (text) => '\0'.repeat(text.length), 'is damaged: it is no JSON'],
    ['something else', () => '{"keys": []}', 'is no key file of this agent'],
    ['a list', () => '[]', 'is no key file of this agent'],
    [
      'of a later version',
      (text) => text.replace('"version": 1', '"version": 2'),
      'has format version 2, and this agent knows 1 alone',
    ],
    [
      'with a date changed',
      (text) => text.replace(/"created_at": \d/, '"created_at": 9'),
      'is damaged: its checksum does not fit',
    ],
    [
      'with a member more',
      (text) => text.replace('"version": 1,', '"version": 1, "more": true,'),
      'is damaged: it has other members than it was written with',
    ],
  ])('%s', async (_, change, message) => {
    await start();
    const changed = change(readFileSync(file, 'utf8'));
    writeFileSync(file, changed);
    await refusesToStart('DATA_DIR_DAMAGED', `${file} ${message}; nothing was changed`);
    expect(readFileSync(file, 'utf8')).toBe(changed);
    expect(readdirSync(directory)).toEqual(['keys.json']);
  });

  test('of another trust domain', async () => {
    await start();
    const before = readFileSync(file, 'utf8');
    const message = 'holds the keys of trust domain "example.org", not of other.test';
    await refusesToStart('DATA_DIR_DAMAGED', message, 'other.test');
    expect(readFileSync(file, 'utf8')).toBe(before);
  });

  test('any character that turned into another', async () => {
    await start();
    const text = readFileSync(file, 'utf8');
    let judged = 0;
    for (let at = 0; at < text.length; at += 7) {
      if (/\s/.test(text.charAt(at))) continue;
      const turned = String.fromCharCode(text.charCodeAt(at) ^ 1);
      writeFileSync(file, text.slice(0, at) + turned + text.slice(at + 1));
      await expect(start()).rejects.toMatchObject({ code: 'DATA_DIR_DAMAGED' });
      judged += 1;
    }
    expect(judged).toBeGreaterThan(200);
    writeFileSync(file, text);
    await expect(start()).resolves.toBeDefined();
  });

  test('no message has anything of a key', async () => {
    await start();
    const text = readFileSync(file, 'utf8');
    const key = /"key": "([^"]+)"/.exec(text)?.[1] ?? '';
    writeFileSync(file, text.replace(`"${key}"`, key));
    const error = await start().catch((thrown: unknown) => thrown);
    expect(String(error)).toContain('is damaged');
    for (let at = 0; at < key.length - 8; at += 8) expect(String(error)).not.toContain(key.slice(at, at + 8));
  });

  test('a directory in the place of the file', async () => {
    mkdirSync(file, { recursive: true, mode: 0o700 });
    await refusesToStart('DATA_DIR_DAMAGED', `${file} is no file`);
  });

  test('a file larger than keys can be', async () => {
    await start();
    writeFileSync(file, ' '.repeat(4 * 1024 * 1024 + 1));
    await refusesToStart('DATA_DIR_DAMAGED', 'is larger than');
  });

  test('no file, but something that may be what is left of one', async () => {
    await start();
    renameSync(file, join(directory, 'keys.json.bak'));
    await refusesToStart('DATA_DIR_DAMAGED', `${directory} holds keys.json.bak but no keys.json`);
    expect(readdirSync(directory)).toEqual(['keys.json.bak']);
  });
});

describe('what others could read or replace stops the start', () => {
  test.each([
    ['a file that the group may read', 'keys.json', 0o640, 'has mode 0640', 'chmod 600'],
    ['a file that all may read', 'keys.json', 0o604, 'has mode 0604', 'chmod 600'],
    ['a directory that all may enter', '', 0o701, 'has mode 0701', 'chmod 700'],
    ['a data_dir that the group may write to', '..', 0o770, 'has mode 0770', 'chmod go-w'],
  ])('%s', async (_, name, mode, told, remedy) => {
    await start();
    const path = join(directory, name);
    chmodSync(path, mode);
    await refusesToStart('DATA_DIR_UNSAFE', new RegExp(`^${path} ${told}.*${remedy}`));
  });

  test('a file that is a symbolic link', async () => {
    await start();
    renameSync(file, join(dataDir, 'elsewhere.json'));
    symlinkSync(join(dataDir, 'elsewhere.json'), file);
    await refusesToStart('DATA_DIR_UNSAFE', `${file} is a symbolic link`);
  });

  test('a directory that is a symbolic link', async () => {
    await start();
    renameSync(directory, join(dataDir, 'elsewhere'));
    symlinkSync(join(dataDir, 'elsewhere'), directory);
    await refusesToStart('DATA_DIR_UNSAFE', `${directory} is a symbolic link`);
  });

  test.skipIf(!IS_ROOT)('a file of another user (skipped where the tests may not chown)', async () => {
    await start();
    chownSync(file, 65_534, 65_534);
    await refusesToStart('DATA_DIR_UNSAFE', `${file} belongs to uid 65534 and the agent runs as uid 0`);
  });

  test('a data_dir that all may read is none of it', async () => {
    chmodSync(dataDir, 0o755);
    await expect(start()).resolves.toBeDefined();
  });
});

describe('writing', () => {
  test('makes what is missing of data_dir, for the agent alone', async () => {
    const deep = join(dataDir, 'a', 'b');
    await expect(start('example.org', deep)).resolves.toBeDefined();
    expect(existsSync(join(deep, 'authority/keys.json'))).toBe(true);
  });

  test('what a crash left half written is not read, and goes', async () => {
    await start();
    const before = await start();
    writeFileSync(join(directory, 'keys.json.tmp'), '{"half');
    expect(await start()).toEqual(before);
    rmSync(file);
    expect(readdirSync(directory)).toEqual(['keys.json.tmp']);
    expect((await start())?.x509Authorities).not.toEqual(before?.x509Authorities);
    expect(readdirSync(directory)).toEqual(['keys.json']);
  });

  test('a full disk is said so, and leaves nothing (skipped where nothing can be mounted)', async ({ skip }) => {
    const small = join(dataDir, 'small');
    mkdirSync(small);
    const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=32k,mode=0700', 'mayfly-test', small]);
    skip(mount.status !== 0, 'no right to mount');
    try {
      mkdirSync(join(small, 'authority'), { mode: 0o700 });
      const filler = join(small, 'filler');
      spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4k']);
      await expect(start('example.org', small)).rejects.toMatchObject({
        code: 'DISK_FULL',
        message: `cannot write ${small}/authority/keys.json: the disk is full; free some space`,
      });
      expect(readdirSync(join(small, 'authority'))).toEqual([]);
      rmSync(filler);
      await expect(start('example.org', small)).resolves.toBeDefined();
    } finally {
      spawnSync('umount', [small]);
      rmSync(small, { recursive: true });
    }
  });
});
