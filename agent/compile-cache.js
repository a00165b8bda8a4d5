// @ts-check
// Plain JavaScript, as all that runs before compiled code can be looked up: a single file of TypeScript would have the type
// stripper loaded, which costs each start 13 MB and 60 ms.
import { lstatSync, mkdirSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Keeps compiled code for the next start, where there is a place for it. To be called before other modules are loaded. */
export function keepCompiledCode() {
  const folder = compiledCodeFolder(fileURLToPath(new URL('../node_modules', import.meta.url)));
  if (folder !== undefined) enableCompileCache(folder);
}

/**
 * A folder below `modules` that nobody else can write: what lies there is run. That is why Node's own choice, in /tmp, will not do.
 * `undefined` where there is none, as in an installation of root's that a user runs, or on a read-only disk.
 *
 * @param {string} modules
 * @returns {string | undefined}
 */
export function compiledCodeFolder(modules) {
  const cache = join(modules, '.cache');
  const own = join(cache, 'mayfly');
  try {
    if (!isOwn(modules, 0o002)) return undefined;
    mkdirSync(own, { recursive: true, mode: 0o700 });
    // A group that may write to node_modules can replace the code itself, and loses nothing here.
    return isOwn(cache, 0o002) && isOwn(own, 0o077) ? own : undefined;
  } catch {
    return undefined;
  }
}

/**
 * A folder of our own that is no link to one, with none of the `forbidden` permission bits.
 *
 * @param {string} folder
 * @param {number} forbidden
 */
function isOwn(folder, forbidden) {
  const found = lstatSync(folder);
  return found.isDirectory() && found.uid === process.geteuid?.() && (found.mode & forbidden) === 0;
}
