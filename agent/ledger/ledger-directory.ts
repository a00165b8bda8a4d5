import type { Stats } from 'node:fs';
import { closeSync, constants, fsyncSync, lstatSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { MayflyError, messageOf, systemCodeOf } from '../kernel/errors.ts';

/**
 * Makes the ledger's directory where it is missing. It is closed to everybody else (0700, its files 0600): a ledger tells who runs
 * what, and who could write to it could have identities forgotten that must be revoked.
 *
 * @throws MayflyError `DATA_DIR_UNSAFE`, `DISK_FULL`, `PERMISSION_MISSING`
 */
export function secureLedgerDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    syncDirectory(dirname(path));
  } catch (error) {
    throw ledgerFailure('make', path, error);
  }
  // Who may write to the directory above can put another one in this one's place.
  mustBePrivate(dirname(path), statSync(dirname(path)), 0o022, 'go-w');
  const stat = lstatSync(path);
  if (!stat.isDirectory()) throw unsafe(path, 'is a symbolic link; move the directory itself here');
  mustBePrivate(path, stat, 0o077, '700');
}

/** @throws MayflyError `DATA_DIR_UNSAFE` when `path` is no file of the agent's, or others may read or write it */
export function mustBePrivateFile(path: string, stat: Stats): void {
  if (!stat.isFile()) throw unsafe(path, 'is no file; remove it');
  mustBePrivate(path, stat, 0o077, '600');
}

/** A new or removed name is durable once its directory is. */
export function syncDirectory(path: string): void {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** What stops a start, because to start anyway would be to forget what is still to be revoked. */
export function damagedLedger(place: string, problem: string, cause?: unknown): MayflyError {
  const remedy =
    'mayfly audit verify names every such place; restore the ledger from a backup, or move its directory away to start without it: ' +
    'what was issued before is then neither known nor revoked, and is good until it expires';
  return new MayflyError('DATA_DIR_DAMAGED', `${place} ${problem}; ${remedy}`, { cause });
}

/** What went wrong with a file of the ledger, by the error of the system. */
export function ledgerFailure(action: string, path: string, cause: unknown): MayflyError {
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

/** Whether the disk, or the agent's share of it, is used up. */
export function isLackOfRoom(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes(systemCodeOf(error) ?? '');
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
      `has mode ${mode}: others have access to the ledger; look at what they did, then run chmod ${remedy}`,
    );
  }
}

function unsafe(path: string, problem: string): MayflyError {
  return new MayflyError('DATA_DIR_UNSAFE', `${path} ${problem}`);
}
