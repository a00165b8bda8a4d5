import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { MayflyError, messageOf, systemCodeOf } from './kernel/errors.ts';
import { makeDirectory } from './kernel/made-directory.ts';
import { lockFile } from './peer/system/hardening.ts';

/** The agent's own directory, locked for as long as it is open: two agents on one would sign with the same keys. */
export class DataDir {
  readonly path: string;
  readonly #lock: number;

  private constructor(path: string, lock: number) {
    this.path = path;
    this.#lock = lock;
  }

  /**
   * Makes the directory where it is missing, 0700, and takes its lock. The lock is the kernel's: it ends with the process, however
   * that ends.
   *
   * @throws MayflyError `DATA_DIR_UNSAFE` when it is another user's or open to others, `DATA_DIR_LOCKED` when an agent runs on it,
   *   `PERMISSION_MISSING`, `DISK_FULL`
   */
  static open(path: string): DataDir {
    try {
      makeDirectory(path, 0o700);
      assertPrivate(path);
      return new DataDir(path, takeLock(path));
    } catch (error) {
      throw explained(path, error);
    }
  }

  /** Gives the lock back. May be called once. */
  close(): void {
    closeSync(this.#lock);
  }
}

/** Locks the file `lock`, which says who holds it, and returns its descriptor. */
function takeLock(path: string): number {
  const file = join(path, 'lock');
  const lock = openOwn(file);
  try {
    if (!lockFile(lock)) {
      const holder = readFileSync(lock, 'utf8').trim();
      throw new MayflyError(
        'DATA_DIR_LOCKED',
        // It is locked a moment before it says by whom.
        `${path} is in use by ${holder === '' ? 'another agent' : `the agent with process id ${holder}`}; stop it, or set another data_dir`,
      );
    }
    ftruncateSync(lock);
    writeSync(lock, `${process.pid}\n`);
    return lock;
  } catch (error) {
    closeSync(lock);
    throw error;
  }
}

/** Opens what is emptied next: while the directory was open to others, one of them may have put a link to another file there. */
function openOwn(file: string): number {
  const foreign = () => new MayflyError('DATA_DIR_UNSAFE', `${file} was not made by the agent; remove it`);
  let descriptor: number;
  try {
    descriptor = openSync(
      file,
      constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK,
      0o600,
    );
  } catch (error) {
    if (['ELOOP', 'EISDIR', 'ENXIO'].includes(systemCodeOf(error) ?? '')) throw foreign();
    throw error;
  }
  const found = fstatSync(descriptor);
  if (found.isFile() && found.nlink === 1 && found.uid === process.geteuid?.()) return descriptor;
  closeSync(descriptor);
  throw foreign();
}

function assertPrivate(path: string): void {
  const { mode, uid } = statSync(path);
  const own = process.geteuid?.();
  if (uid !== own) {
    throw new MayflyError(
      'DATA_DIR_UNSAFE',
      `data_dir ${path} belongs to uid ${uid} and the agent runs as uid ${own}; chown it, or run as its owner`,
    );
  }
  // A directory of our own that is too open was made by hand; the files in it are 0600, so closing it is all that it takes.
  if ((mode & 0o077) !== 0) chmodSync(path, 0o700);
}

function explained(path: string, error: unknown): unknown {
  switch (systemCodeOf(error)) {
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
    case 'ENOENT':
      return new MayflyError(
        'PERMISSION_MISSING',
        `data_dir ${path} cannot be written, give it to the agent's user or set another: ${messageOf(error)}`,
        {
          cause: error,
        },
      );
    case 'ENOSPC':
    case 'EDQUOT':
      return new MayflyError('DISK_FULL', `no room for data_dir ${path}; free some, or set another`, { cause: error });
    case 'ENOTDIR':
    case 'EEXIST':
      return new MayflyError(
        'DATA_DIR_UNSAFE',
        `data_dir ${path} is no directory, or has a file above it; remove the file, or set another`,
        { cause: error },
      );
    case undefined:
    default:
      return error;
  }
}
