import { randomFillSync } from 'node:crypto';
import { close, constants, ftruncate, open, write } from 'node:fs';
import { rm, statfs } from 'node:fs/promises';
import { promisify } from 'node:util';
import { syncDirectory } from '../kernel/replaced-file.ts';

/** What durable means: on the disk, or with the kernel. */
export type Sync = 'strict' | 'relaxed';

/** A file that grows. */
export interface LedgerFile {
  /** Writes all of it at `position`; when this resolves it is durable. When it rejects, some of it may be there. */
  write(bytes: Buffer, position: number): Promise<void>;
  truncate(size: number): Promise<void>;
  close(): Promise<void>;
}

/** All that the ledger does to the disk while it runs. Everything throws the system's own errors. */
export interface LedgerFiles {
  /** Opens a file that is there. */
  open(path: string): Promise<LedgerFile>;
  /** Makes a file, empty. */
  create(path: string): Promise<LedgerFile>;
  /** Makes a file of `bytes` bytes that take up room. */
  allocate(path: string, bytes: number): Promise<void>;
  /** The file may be gone already. */
  remove(path: string): Promise<void>;
  /** Bytes that are left for the agent's user. */
  free(directory: string): Promise<number>;
  /** Makes the names in a directory durable. */
  syncDirectory(directory: string): void;
}

const openFile = promisify(open);
const truncateFile = promisify(ftruncate);
const closeFile = promisify(close);

const ALLOCATED_AT_ONCE = 1024 * 1024;

/** The machine's own files. */
export class DiskFiles implements LedgerFiles {
  readonly #flags: number;

  constructor(sync: Sync) {
    // A write that returns when it is on the disk is one system call, and a quarter cheaper than write and fdatasync.
    this.#flags = constants.O_RDWR | constants.O_NOFOLLOW | (sync === 'strict' ? constants.O_DSYNC : 0);
  }

  async open(path: string): Promise<LedgerFile> {
    return new DiskFile(await openFile(path, this.#flags));
  }

  async create(path: string): Promise<LedgerFile> {
    return new DiskFile(await openFile(path, this.#flags | constants.O_CREAT | constants.O_TRUNC, 0o600));
  }

  async allocate(path: string, bytes: number): Promise<void> {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
    const file = new DiskFile(await openFile(path, flags | constants.O_DSYNC, 0o600));
    try {
      // Noise, because a file system that compresses keeps no room for zeros.
      const noise = Buffer.allocUnsafe(Math.min(bytes, ALLOCATED_AT_ONCE));
      for (let done = 0; done < bytes; done += noise.length) {
        randomFillSync(noise);
        await file.write(noise.subarray(0, Math.min(noise.length, bytes - done)), done);
      }
    } finally {
      await file.close();
    }
  }

  remove(path: string): Promise<void> {
    return rm(path, { force: true });
  }

  async free(directory: string): Promise<number> {
    const { bavail, bsize } = await statfs(directory);
    return bavail * bsize;
  }

  syncDirectory(directory: string): void {
    syncDirectory(directory);
  }
}

class DiskFile implements LedgerFile {
  readonly #descriptor: number;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  async write(bytes: Buffer, position: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      done += await writeSome(this.#descriptor, bytes, done, position + done);
    }
  }

  truncate(size: number): Promise<void> {
    return truncateFile(this.#descriptor, size);
  }

  close(): Promise<void> {
    return closeFile(this.#descriptor);
  }
}

function writeSome(descriptor: number, bytes: Buffer, from: number, position: number): Promise<number> {
  const { promise, reject, resolve } = Promise.withResolvers<number>();
  write(descriptor, bytes, from, bytes.length - from, position, (error, count) => {
    if (error !== null) reject(error);
    else resolve(count);
  });
  return promise;
}
