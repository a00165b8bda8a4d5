import type { Stats } from 'node:fs';
import { MayflyError } from '../kernel/errors.ts';
import { PrivateFiles, unsafe } from '../kernel/private-files.ts';

/**
 * The ledger's directory, `<data_dir>/ledger`. It is closed to everybody else: a ledger tells who runs what, and who could write to it
 * could have identities forgotten that must be revoked.
 */
export const LEDGER_FILES = new PrivateFiles(
  (chmod) => `others have access to the ledger; look at what they did, then run chmod ${chmod}`,
);

/** @throws MayflyError `DATA_DIR_UNSAFE` when `path` is no file of the agent's, or others may read or write it */
export function mustBeLedgerFile(path: string, stat: Stats): void {
  if (!stat.isFile()) throw unsafe(path, 'is no file; remove it');
  LEDGER_FILES.mustBePrivate(path, stat);
}

/** What stops a start, because to start anyway would be to forget what is still to be revoked. */
export function damagedLedger(place: string, problem: string, cause?: unknown): MayflyError {
  const remedy =
    'mayfly audit verify names every such place; restore the ledger from a backup, or move its directory away to start without it: ' +
    'what was issued before is then neither known nor revoked, and is good until it expires';
  return new MayflyError('DATA_DIR_DAMAGED', `${place} ${problem}; ${remedy}`, { cause });
}
