import { chmodSync, lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Which files are no plain ones, by their paths in the folder. */
export interface Modes {
  readonly executable: RegExp;
  /** Folders where everybody may make files. */
  readonly sticky?: RegExp;
}

/** Makes the modes of all that is in a folder the same whatever the umask, and whoever made the clone. */
export function setModes(folder: string, { executable, sticky }: Modes): void {
  chmodSync(folder, 0o755);
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const path = join(folder, name);
    const kind = lstatSync(path);
    if (kind.isSymbolicLink()) continue;
    if (kind.isDirectory()) chmodSync(path, sticky?.test(name) === true ? 0o1777 : 0o755);
    else chmodSync(path, executable.test(name) ? 0o755 : 0o644);
  }
}
