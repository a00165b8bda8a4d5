import type { Stats } from 'node:fs';
import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { isLackOfRoom, MayflyError, messageOf, systemCodeOf } from './errors.ts';
import { makeDirectory } from './made-directory.ts';
import { syncDirectory } from './replaced-file.ts';

/** What it means that others have access, such that "has mode 0640: …" reads well. @param chmod the mode that closes it */
export type Exposure = (chmod: string) => string;

/**
 * Directories and files in `data_dir` that are closed to everybody else (0700, 0600). What is found otherwise is not repaired: somebody
 * may have been there already.
 */
export class PrivateFiles {
  readonly #exposure: Exposure;

  constructor(exposure: Exposure) {
    this.#exposure = exposure;
  }

  /**
   * Makes a directory in `data_dir` where it is missing.
   *
   * @throws MayflyError `DATA_DIR_UNSAFE` when others may read it, or put another one in its place; `DISK_FULL`, `PERMISSION_MISSING`
   */
  secureDirectory(path: string): void {
    try {
      makeDirectory(path, 0o700);
      syncDirectory(dirname(path));
    } catch (error) {
      throw fileFailure('make', path, error);
    }
    // Who may write to the directory above can put another one in this one's place.
    this.#mustBeClosed(dirname(path), statSync(dirname(path)), 0o022, 'go-w');
    const stat = lstatSync(path);
    if (!stat.isDirectory()) throw unsafe(path, 'is a symbolic link; move the directory itself here');
    this.#mustBeClosed(path, stat, 0o077, '700');
  }

  /** @throws MayflyError `DATA_DIR_UNSAFE` when others may read or write the file */
  mustBePrivate(path: string, stat: Stats): void {
    this.#mustBeClosed(path, stat, 0o077, '600');
  }

  /**
   * The text of a file; `undefined` when there is none.
   *
   * @param judge throws when it is not to be read
   * @throws MayflyError what `judge` throws; `DATA_DIR_UNSAFE` for a link; see {@link fileFailure}
   */
  read(path: string, judge: (stat: Stats) => void): string | undefined {
    let descriptor: number;
    try {
      // O_NONBLOCK: opening a FIFO that nobody writes to would otherwise wait for ever.
      descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return undefined;
      throw fileFailure('read', path, error);
    }
    try {
      judge(fstatSync(descriptor));
      return readFileSync(descriptor, 'utf8');
    } catch (error) {
      throw fileFailure('read', path, error);
    } finally {
      closeSync(descriptor);
    }
  }

  #mustBeClosed(path: string, stat: Stats, forbidden: number, chmod: string): void {
    const self = process.geteuid?.();
    // Root may do anything anyway; a directory of root's is how packages lay out /var/lib.
    if (stat.uid !== self && stat.uid !== 0) {
      throw unsafe(path, `belongs to uid ${stat.uid} and the agent runs as uid ${self}; chown it, or run as its owner`);
    }
    if ((stat.mode & forbidden) !== 0) {
      const mode = (stat.mode & 0o7777).toString(8).padStart(4, '0');
      throw unsafe(path, `has mode ${mode}: ${this.#exposure(chmod)}`);
    }
  }
}

/** What went wrong with a file in `data_dir`, by the error of the system. */
export function fileFailure(action: string, path: string, cause: unknown): MayflyError {
  if (cause instanceof MayflyError) return cause;
  const code = systemCodeOf(cause);
  if (isLackOfRoom(cause)) {
    return new MayflyError('DISK_FULL', `cannot ${action} ${path}: the disk is full; free some space`, { cause });
  }
  if (code === 'ELOOP') return unsafe(path, 'is a symbolic link; move the file itself here');
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    const sentence = `cannot ${action} ${path}: ${messageOf(cause)}; the agent's user must own data_dir and be able to write there`;
    return new MayflyError('PERMISSION_MISSING', sentence, { cause });
  }
  return new MayflyError('DATA_DIR_DAMAGED', `cannot ${action} ${path}: ${messageOf(cause)}`, { cause });
}

/** @param problem goes on behind the path */
export function unsafe(path: string, problem: string): MayflyError {
  return new MayflyError('DATA_DIR_UNSAFE', `${path} ${problem}`);
}
