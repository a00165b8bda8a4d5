import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { MayflyError } from '../kernel/errors.ts';
import { fileFailure, PrivateFiles } from '../kernel/private-files.ts';
import { replaceFile } from '../kernel/replaced-file.ts';

const DIRECTORY = 'authority';
const FILE = 'keys.json';
// What a crash leaves of a file that was being replaced.
const TEMPORARY = 'keys.json.tmp';
const MAX_FILE_BYTES = 4 * 1024 * 1024;

const FILES = new PrivateFiles(
  (chmod) => `others have access to the authority's keys; run chmod ${chmod}, and replace the keys if they were read`,
);

/**
 * The one file that holds the authority's keys, `<data_dir>/authority/keys.json`: read once at the start, replaced whole at every
 * rotation, so that a crash leaves either the old keys or the new ones. It is synchronous: a rotation is rare, and nothing may be
 * signed by keys that are not on disk.
 */
export class KeyStore {
  readonly path: string;
  readonly #directory: string;

  constructor(dataDir: string) {
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
    FILES.secureDirectory(this.#directory);
    const text = FILES.read(this.path, (stat) => {
      if (!stat.isFile())
        throw damaged(this.path, 'is no file; move it away, and restore the file from a backup or start with new keys');
      FILES.mustBePrivate(this.path, stat);
      if (stat.size > MAX_FILE_BYTES) throw damaged(this.path, `is larger than ${MAX_FILE_BYTES} bytes`);
    });
    return text ?? this.#nothingThere();
  }

  /**
   * Replaces the file; when it returns, the new one is on disk. A failure leaves the old one.
   *
   * @throws MayflyError `DISK_FULL`, `PERMISSION_MISSING`
   */
  write(text: string): void {
    try {
      replaceFile(this.path, text, 0o600);
    } catch (error) {
      throw fileFailure('write', this.path, error);
    }
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

/** What stops a start because starting anyway would destroy or disown what is there. */
export function damaged(path: string, problem: string, cause?: unknown): MayflyError {
  return new MayflyError('DATA_DIR_DAMAGED', `${path} ${problem}`, { cause });
}
