import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../../agent/kernel/clock.ts';
import type { LedgerFile, LedgerFiles } from '../../../agent/ledger/ledger-files.ts';
import { DiskFiles } from '../../../agent/ledger/ledger-files.ts';
import { verifyLedger } from '../../../agent/ledger/verify.ts';
import { isRoot, until } from '../../support/processes.ts';
import { ended, issued, LedgerWorld, linesIn, refused, revoked, stateOf, validated } from './ledger-world.ts';

let world: LedgerWorld;

beforeEach(() => {
  world = new LedgerWorld();
});

afterEach(() => world.clean());

/** The machine's files on a disk that has as much room as a test says. */
class FailingFiles extends DiskFiles implements LedgerFiles {
  /** The error of each write and each allocation; `undefined` while there is room. */
  code: 'ENOSPC' | 'EDQUOT' | 'EIO' | undefined;
  /** Whether the room of the reserve is there once it was given up. */
  reserveHelps = true;
  /** How much of a write that fails is on the disk all the same. */
  written = 0;
  /** Whether what was written too much cannot be taken off. */
  stuck = false;
  attempts = 0;
  /** How often it was asked whether there is room. */
  asked = 0;
  readonly #world: LedgerWorld;

  constructor(of: LedgerWorld) {
    super('relaxed');
    this.#world = of;
  }

  override async open(path: string): Promise<LedgerFile> {
    return this.#failing(await super.open(path));
  }

  override async create(path: string): Promise<LedgerFile> {
    return this.#failing(await super.create(path));
  }

  override async allocate(path: string, bytes: number): Promise<void> {
    if (this.code !== undefined) throw this.#error();
    await super.allocate(path, bytes);
  }

  override free(directory: string): Promise<number> {
    this.asked += 1;
    return super.free(directory);
  }

  #failing(file: LedgerFile): LedgerFile {
    return {
      write: async (bytes, position) => {
        this.attempts += 1;
        const hasRoom =
          this.code === 'ENOSPC' && this.reserveHelps && !existsSync(join(this.#world.directory, 'reserve'));
        if (this.code === undefined || hasRoom) return file.write(bytes, position);
        await file.write(bytes.subarray(0, this.written), position);
        throw this.#error();
      },
      truncate: (size) => (this.stuck ? Promise.reject(this.#error()) : file.truncate(size)),
      close: () => file.close(),
    };
  }

  #error(): Error {
    return Object.assign(new Error(`${this.code}: no`), { code: this.code });
  }
}

/** Lets seconds pass, in each of which the ledger looks whether it can be written again, until something is so. */
async function passUntil(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries += 1) {
    if (tries > 500) throw new Error('it never came so');
    await world.clock.elapse(1000);
    await sleep(2);
  }
}

describe('a disk without room', () => {
  test('refuses what is issued and takes it back, writes endings into the reserve, and recovers', async () => {
    const files = new FailingFiles(world);
    const ledger = await world.open({ files });
    const before = issued('a', world.clock);
    await ledger.append(before);
    files.code = 'ENOSPC';
    files.written = 40;
    const failed = ['b', 'c'].map((name) => ledger.append(issued(name, world.clock)));
    for (const append of failed) await expect(append).rejects.toMatchObject({ code: 'DISK_FULL' });
    expect([...ledger.state.leases.keys()]).toEqual(['lease-a']);
    expect(ledger.writable).toBe(false);
    expect(ledger.error).toContain('has no room; free some space');
    expect(ledger.status()).toMatchObject({ writable: false, error: ledger.error });
    expect(world.types()).toEqual(['checkpoint', 'svid.issued']);

    // Without a try at the disk.
    await ledger.settled();
    const { attempts } = files;
    await expect(ledger.append(issued('d', world.clock))).rejects.toMatchObject({ code: 'DISK_FULL' });
    ledger.refuse(refused('e', world.clock));
    expect(files.attempts).toBe(attempts);

    await until(() => !existsSync(join(world.directory, 'reserve')), 'the reserve is given up');
    ledger.note(ended(before));
    ledger.note(revoked(before));
    expect(ledger.state.revokedCertificates.has('serial-a')).toBe(true);
    await ledger.settled();
    expect(world.types().slice(2)).toEqual(['lease.ended', 'svid.revoked']);

    await passUntil(() => files.asked > 2);
    expect(ledger.writable).toBe(false);
    files.code = undefined;
    await passUntil(() => ledger.writable);
    expect(existsSync(join(world.directory, 'reserve'))).toBe(true);
    await ledger.append(issued('f', world.clock));
    expect(world.records().slice(4)).toMatchObject([
      { type: 'ledger.recovered', refusals_lost: 1, since: '2026-01-01T00:00:00.000Z' },
      { type: 'svid.issued', lease: 'lease-f' },
    ]);
    expect(world.log.events.filter((event) => event.startsWith('ledger.'))).toEqual([
      'ledger.checkpoint',
      'ledger.full',
      'ledger.recovered',
    ]);
    expect(verifyLedger(world.directory, 'issuance', { head: ledger.head }).problems).toEqual([]);
    expect(stateOf(await world.open(), world.clock)).toEqual(stateOf(ledger, world.clock));
  });

  test('keeps endings in memory when the reserve is used up too, in order', async () => {
    const files = new FailingFiles(world);
    const ledger = await world.open({ files });
    const events = ['a', 'b', 'c'].map((name) => issued(name, world.clock));
    for (const event of events) await ledger.append(event);
    files.code = 'EDQUOT';
    files.reserveHelps = false;
    for (const event of events) ledger.note(ended(event));
    await ledger.settled();
    expect(ledger.state.leases.size).toBe(0);
    await passUntil(() => files.asked > 2);
    expect(ledger.status().pending).toBe(3);
    files.code = undefined;
    await passUntil(() => ledger.writable);
    expect(world.types().slice(4)).toEqual(['lease.ended', 'lease.ended', 'lease.ended', 'ledger.recovered']);
    expect(world.records().slice(4, 7)).toMatchObject(events.map(({ lease }) => ({ lease })));
  });

  test.each([0, 1, 500, 5000])(
    'leaves no trace of a write of which %i bytes are there, even if they stay',
    async (written) => {
      const files = new FailingFiles(world);
      const ledger = await world.open({ files });
      files.code = 'ENOSPC';
      files.reserveHelps = false;
      files.written = written;
      files.stuck = true;
      const appends = Array.from({ length: 10 }, (_, index) => ledger.append(issued(String(index), world.clock)));
      for (const append of appends) await expect(append).rejects.toMatchObject({ code: 'DISK_FULL' });
      ledger.note({ type: 'crl.reserved', up_to: 5 });
      await ledger.settled();
      files.code = undefined;
      files.stuck = false;
      await passUntil(() => ledger.writable);
      expect(world.types()).toEqual(['checkpoint', 'crl.reserved', 'ledger.recovered']);
      expect(verifyLedger(world.directory, 'issuance', { head: ledger.head })).toMatchObject({
        problems: [],
        unfinished: false,
      });
    },
  );

  test('does not begin a file, and goes on in the one before', async () => {
    const files = new FailingFiles(world);
    const ledger = await world.open({ files, segmentSize: 2048 });
    let count = 0;
    while (world.names().length < 2) {
      await ledger.append(issued(String(count++), world.clock));
      await ledger.settled();
    }
    files.reserveHelps = false;
    files.code = 'ENOSPC';
    await expect(ledger.append(issued('x', world.clock))).rejects.toMatchObject({ code: 'DISK_FULL' });
    files.code = undefined;
    await passUntil(() => ledger.writable);
    for (let index = 0; index < 10; index += 1) await ledger.append(issued(`y${index}`, world.clock));
    await ledger.settled();
    expect(world.names().length).toBeGreaterThan(2);
    expect(verifyLedger(world.directory, 'issuance', { head: ledger.head }).problems).toEqual([]);
  });

  test('is no reason not to start, once there is a ledger', async () => {
    const first = await world.open();
    const event = issued('a', world.clock);
    await first.append(event);
    rmSync(join(world.directory, 'reserve'));
    const files = new FailingFiles(world);
    files.code = 'ENOSPC';
    const ledger = await world.open({ files });
    expect(ledger.writable).toBe(false);
    await expect(ledger.append(issued('b', world.clock))).rejects.toMatchObject({ code: 'DISK_FULL' });
    ledger.note(ended(event));
    await ledger.settled();
    expect(world.types()).toEqual(['checkpoint', 'svid.issued', 'lease.ended']);
    files.code = undefined;
    await passUntil(() => ledger.writable);
  });

  test('is one at the very first start', async () => {
    const files = new FailingFiles(world);
    files.code = 'ENOSPC';
    files.reserveHelps = false;
    await expect(world.open({ files })).rejects.toMatchObject({ code: 'DISK_FULL' });
    files.code = undefined;
    expect((await world.open({ files })).before).toBeUndefined();
  });

  test('loses uses, which are counted', async () => {
    const files = new FailingFiles(world);
    const ledger = await world.open({ files });
    files.code = 'ENOSPC';
    files.reserveHelps = false;
    ledger.use(validated('a'));
    await ledger.settled();
    ledger.use(validated('b'));
    files.code = undefined;
    await passUntil(() => ledger.useHead.seq === 2);
    ledger.use(validated('c'));
    await ledger.settled();
    await world.clock.elapse(10_000);
    expect(world.types('use')).toEqual(['segment', 'segment', 'svid.validated']);
    expect(world.log.events).toContain('ledger.uses_lost');
    expect(ledger.writable).toBe(true);
  });
});

describe('a disk that fails otherwise', () => {
  test('refuses what is issued under another code, and keeps the reserve', async () => {
    const files = new FailingFiles(world);
    const ledger = await world.open({ files });
    files.code = 'EIO';
    await expect(ledger.append(issued('a', world.clock))).rejects.toMatchObject({
      code: 'AUTHORITY_UNAVAILABLE',
      message: expect.stringContaining('cannot be written: EIO: no'),
    });
    expect(existsSync(join(world.directory, 'reserve'))).toBe(true);
    const { attempts } = files;
    await passUntil(() => files.attempts > attempts + 2);
    expect(ledger.writable).toBe(false);
    files.code = undefined;
    await passUntil(() => ledger.writable);
    await ledger.append(issued('b', world.clock));
    expect(world.types()).toEqual(['checkpoint', 'ledger.recovered', 'svid.issued']);
  });
});

describe('a file system that is full', () => {
  test.skipIf(!isRoot)('keeps endings, and issues again when there is room (needs root)', async (context) => {
    const mount = join(world.dataDir, 'mount');
    mkdirSync(mount, { mode: 0o700 });
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=0700', 'ledger', mount]).status !== 0) {
      context.skip('needs the right to mount');
    }
    const full = new LedgerWorld(join(mount, 'ledger'));
    try {
      const ledger = await full.open({ clock: new SystemClock(), sync: 'strict', reserve: 256 * 1024 });
      const events = Array.from({ length: 20 }, (_, index) => issued(String(index), full.clock));
      for (const event of events) await ledger.append(event);
      const filler = join(mount, 'filler');
      const { bavail, bsize } = statfsSync(mount);
      writeFileSync(filler, Buffer.alloc(bavail * bsize));
      const refusal = { code: 'DISK_FULL' };
      // What is left of the last page may do for a few.
      const fill = async () => {
        for (let index = 0; ; index += 1) await ledger.append(issued(`x${index}`, full.clock));
      };
      await expect(fill()).rejects.toMatchObject(refusal);
      for (const event of events) {
        ledger.note(ended(event));
        ledger.note(revoked(event));
      }
      await until(() => ledger.status().pending === 0, 'endings are written');
      expect(
        linesIn(full.path())
          .slice(-40)
          .map((line) => JSON.parse(line).type),
      ).toEqual(events.flatMap(() => ['lease.ended', 'svid.revoked']));
      await expect(ledger.append(issued('y', full.clock))).rejects.toMatchObject(refusal);
      rmSync(filler);
      await until(() => ledger.writable, 'writable again');
      await ledger.append(issued('z', full.clock));
      expect(verifyLedger(full.directory, 'issuance', { head: ledger.head }).problems).toEqual([]);
      await ledger.close();
    } finally {
      spawnSync('umount', ['-l', mount]);
      full.clean();
    }
  });
});
