import { createHash } from 'node:crypto';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileDigests } from '../../../../agent/attest/unix/file-digests.ts';
import { ManualClock } from '../../../support/manual-clock.ts';

const MIB = 1024 ** 2;
const NEVER = new AbortController().signal;
const HOUR = 3_600_000;

let directory: string;
let digests: FileDigests;
let clock: ManualClock;
const files: FileHandle[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'mayfly-digest-'));
  clock = new ManualClock(Date.now() + HOUR);
  digests = new FileDigests(clock);
});

afterEach(async () => {
  await digests.close();
  for (const file of files.splice(0)) await file.close();
  rmSync(directory, { recursive: true });
});

async function fileOf(bytes: Buffer, name = 'program') {
  const path = join(directory, name);
  writeFileSync(path, bytes);
  const file = await open(path);
  files.push(file);
  return { path, file, hex: createHash('sha256').update(bytes).digest('hex') };
}

async function digestOf(file: FileHandle, signal = NEVER, tenant = 'uid 0') {
  return digests.of(file.fd, await file.stat({ bigint: true }), tenant, signal);
}

/** How many bytes this process has read so far, by the kernel's count. */
function bytesRead(): number {
  return Number(/rchar: (\d+)/.exec(readFileSync('/proc/self/io', 'utf8'))?.[1]);
}

function descriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

describe('the digest of a file', () => {
  it.each([0, 1, 256 * 1024, 256 * 1024 + 1, 3 * MIB])('is its SHA-256, at %i bytes', async (size) => {
    const { file, hex } = await fileOf(Buffer.alloc(size, 'mayfly'));
    expect(await digestOf(file)).toEqual({ kind: 'digest', hex });
  });

  it('is read once by those who ask together, and not again while the file stays', async () => {
    const { file, hex } = await fileOf(Buffer.alloc(8 * MIB, 1));
    const before = bytesRead();
    const all = await Promise.all(Array.from({ length: 20 }, (_, uid) => digestOf(file, NEVER, `uid ${uid}`)));
    await digestOf(file);
    expect(bytesRead() - before).toBeLessThan(12 * MIB);
    expect(new Set(all.map((digest) => JSON.stringify(digest)))).toEqual(
      new Set([JSON.stringify({ kind: 'digest', hex })]),
    );
  });

  it('is read again when the file has other times, though its size is the same', async () => {
    const { path, file } = await fileOf(Buffer.alloc(MIB, 1));
    await digestOf(file);
    writeFileSync(path, Buffer.alloc(MIB, 2));
    utimesSync(path, 1, 1);
    const hex = createHash('sha256').update(Buffer.alloc(MIB, 2)).digest('hex');
    expect(await digestOf(file)).toEqual({ kind: 'digest', hex });
  });

  it('is not kept of a file that changed just now: it may change again without showing it', async () => {
    const { file } = await fileOf(Buffer.alloc(MIB, 1));
    clock.step((await file.stat()).ctimeMs - clock.now() + 1999);
    await digestOf(file);
    expect(digests.known(await file.stat({ bigint: true }))).toBeUndefined();
    clock.advance(1);
    await digestOf(file);
    expect(digests.known(await file.stat({ bigint: true }))).toMatchObject({ kind: 'digest' });
  });

  it('is none when the file changed after it was looked at', async () => {
    const { path, file } = await fileOf(Buffer.alloc(MIB, 1));
    const status = await file.stat({ bigint: true });
    appendFileSync(path, 'more');
    expect(await digests.of(file.fd, status, 'uid 0', NEVER)).toMatchObject({ kind: 'changing' });
    expect(digests.known(status)).toBeUndefined();
  });

  it('is none of a file that grows while it is read', async () => {
    const { path, file } = await fileOf(Buffer.alloc(32 * MIB, 1));
    const digest = digestOf(file);
    const grow = setInterval(() => appendFileSync(path, 'x'), 1);
    try {
      expect(await digest).toMatchObject({ kind: 'changing' });
    } finally {
      clearInterval(grow);
    }
  });

  it('is forgotten first of the one that was not used for longest', async () => {
    digests = new FileDigests(clock, 2);
    const [a, b, c] = [
      await fileOf(Buffer.from('a'), 'a'),
      await fileOf(Buffer.from('b'), 'b'),
      await fileOf(Buffer.from('c'), 'c'),
    ];
    for (const { file } of [a, b, a, c]) await digestOf(file);
    const known = await Promise.all(
      [a, b, c].map(async ({ file }) => digests.known(await file.stat({ bigint: true }))),
    );
    expect(known.map((digest) => digest !== undefined)).toEqual([true, false, true]);
  });
});

describe('giving up', () => {
  it('frees the caller; the reading goes on and the next one finds it done', async () => {
    const { file, hex } = await fileOf(Buffer.alloc(32 * MIB, 1));
    const status = await file.stat({ bigint: true });
    const gone = new AbortController();
    const waiting = digests.of(file.fd, status, 'uid 0', gone.signal);
    await until(() => bytesRead() - before > 4 * MIB);
    gone.abort(new Error('gone'));
    await expect(waiting).rejects.toThrow('gone');
    await until(() => digests.known(status) !== undefined);
    expect(digests.known(status)).toEqual({ kind: 'digest', hex });
  });

  it('takes back what nobody else waits for and has not begun', async () => {
    const open = descriptors();
    const big = await fileOf(Buffer.alloc(32 * MIB, 1), 'big');
    const small = await fileOf(Buffer.from('small'), 'small');
    const gone = new AbortController();
    const first = digestOf(big.file);
    const queued = digestOf(small.file, gone.signal);
    const joined = await Promise.race([queued, new Promise((resolve) => setImmediate(resolve, 'waiting'))]);
    expect(joined).toBe('waiting');
    gone.abort(new Error('gone'));
    await expect(queued).rejects.toThrow('gone');
    await first;
    expect(digests.known(await small.file.stat({ bigint: true }))).toBeUndefined();
    // Who comes now does not get the other's refusal.
    expect(await digestOf(small.file)).toEqual({ kind: 'digest', hex: small.hex });
    expect(descriptors()).toBe(open + 2);
  });

  it('is what close does for everybody', async () => {
    const open = descriptors();
    const { file } = await fileOf(Buffer.alloc(32 * MIB, 1));
    const waiting = expect(digestOf(file)).rejects.toThrow('the agent shuts down');
    await until(() => descriptors() > open + 1);
    await digests.close();
    await waiting;
    await expect(digestOf(file)).rejects.toThrow('the agent shuts down');
    expect(descriptors()).toBe(open + 1);
  });
});

let before = 0;
beforeEach(() => {
  before = bytesRead();
});

async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error('it did not come to hold within 5 s');
    await new Promise((resolve) => setImmediate(resolve));
  }
}
