import type { Stats } from 'node:fs';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { MayflyError, messageOf, systemCodeOf } from '../kernel/errors.ts';

const DIRECTORY = 'authority';
const FILE = 'keys.json';
const TEMPORARY = 'keys.json.tmp';
const MAX_FILE_BYTES = 4 * 1024 * 1024;

/**
 * The one file that holds the authority's keys, `<data_dir>/authority/keys.json`: read once at the start, replaced whole at every
 * rotation, so that a crash leaves either the old keys or the new ones. It is synchronous: a rotation is rare, and nothing may be
 * signed by keys that are not on disk.
 *
 * The directory is closed to everybody else (0700, the file 0600), and what is found otherwise is not repaired: somebody may have
 * read the keys already.
 */
export class KeyStore {
  readonly path: string;
  readonly #dataDir: string;
  readonly #directory: string;

  constructor(dataDir: string) {
    this.#dataDir = dataDir;
    this.#directory = join(dataDir, DIRECTORY);
    this.path = join(this.#directory, FILE);
  }

  /**
   * Makes the directory where it is missing and returns the file's text; `undefined` at the very first start.
   *
   * @throws MayflyError `DATA_DIR_UNSAFE` when others may read or replace the keys, `DATA_DIR_DAMAGED` when keys should be there
   *   and are not, `DISK_FULL`, `PERMISSION_MISSING`
   */
  read(): string | undefined {
    this.#secureDirectory();
    let descriptor: number;
    try {
      descriptor = openSync(this.path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return this.#nothingThere();
      if (systemCodeOf(error) === 'ELOOP') throw unsafe(this.path, 'is a symbolic link; move the file itself here');
      throw failure('read', this.path, error);
    }
    try {
      const stat = fstatSync(descriptor);
      if (!stat.isFile()) throw damaged(this.path, 'is no file');
      mustBePrivate(this.path, stat, 0o077, '600');
      if (stat.size > MAX_FILE_BYTES) throw damaged(this.path, `is larger than ${MAX_FILE_BYTES} bytes`);
      return readFileSync(descriptor, 'utf8');
    } catch (error) {
      throw error instanceof MayflyError ? error : failure('read', this.path, error);
    } finally {
      closeSync(descriptor);
    }
  }

  /**
   * Replaces the file; when it returns, the new one is on disk. A failure leaves the old one.
   *
   * @throws MayflyError `DISK_FULL`, `PERMISSION_MISSING`
   */
  write(text: string): void {
    const temporary = join(this.#directory, TEMPORARY);
    try {
      // Left over from a crash; created anew, so that its mode is ours.
      rmSync(temporary, { force: true });
      const descriptor = openSync(temporary, 'wx', 0o600);
      try {
        writeFileSync(descriptor, text);
        fsyncSync(descriptor);
      } finally {
        closeSync(descriptor);
      }
      renameSync(temporary, this.path);
      syncDirectory(this.#directory);
    } catch (error) {
      removeQuietly(temporary);
      throw failure('write', this.path, error);
    }
  }

  #secureDirectory(): void {
    try {
      mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw failure('make', this.#directory, error);
    }
    // Who may write to the directory above can put another one in this one's place.
    mustBePrivate(this.#dataDir, statSync(this.#dataDir), 0o022, 'go-w');
    const stat = lstatSync(this.#directory);
    if (!stat.isDirectory()) throw unsafe(this.#directory, 'is a symbolic link; move the directory itself here');
    mustBePrivate(this.#directory, stat, 0o077, '700');
  }

  /** New keys beside the remains of old ones would silently cut off everybody who trusts the old ones. */
  #nothingThere(): undefined {
    const others = readdirSync(this.#directory).filter((name) => name !== TEMPORARY);
    if (others.length === 0) return undefined;
    throw damaged(
      this.#directory,
      `holds ${others.toSorted().slice(0, 3).join(', ')} but no ${FILE}; put the file back, or empty the directory to start with new keys`,
    );
  }
}

function mustBePrivate(path: string, stat: Stats, forbidden: number, remedy: string): void {
  const self = process.geteuid?.();
  // Root may do anything anyway; a directory of root's is how packages lay out /var/lib.
  if (stat.uid !== self && stat.uid !== 0) {
    throw unsafe(path, `belongs to uid ${stat.uid} and the agent runs as uid ${self}; chown it, or run as its owner`);
  }
  if ((stat.mode & forbidden) !== 0) {
    const mode = (stat.mode & 0o7777).toString(8).padStart(4, '0');
    throw unsafe(
      path,
      `has mode ${mode}: others have access to the authority's keys; run chmod ${remedy}, and replace the keys if they were read`,
    );
  }
}

/** A rename is durable once its directory is. */
function syncDirectory(path: string): void {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function removeQuietly(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // The failure that led here is the one to tell.
  }
}

function unsafe(path: string, problem: string): MayflyError {
  return new MayflyError('DATA_DIR_UNSAFE', `${path} ${problem}`);
}

/** What stops a start because starting anyway would destroy or disown what is there. */
export function damaged(path: string, problem: string, cause?: unknown): MayflyError {
  return new MayflyError('DATA_DIR_DAMAGED', `${path} ${problem}`, { cause });
}

function failure(action: string, path: string, cause: unknown): MayflyError {
  const code = systemCodeOf(cause);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new MayflyError('DISK_FULL', `cannot ${action} ${path}: the disk is full; free some space`, { cause });
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    const sentence = `cannot ${action} ${path}: ${messageOf(cause)}; the agent's user must own data_dir and be able to write there`;
    return new MayflyError('PERMISSION_MISSING', sentence, { cause });
  }
  return new MayflyError('DATA_DIR_DAMAGED', `cannot ${action} ${path}: ${messageOf(cause)}`, { cause });
}
