import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { systemCodeOf } from './errors.ts';

/**
 * Makes a directory, and those above it, where they are missing. Node's own `recursive` never comes back where the system answers
 * `ENOENT` although the parent is there, as it does in `/proc`.
 *
 * @returns the topmost directory that was made; `undefined` where none was missing
 * @throws the system's error
 */
export function makeDirectory(path: string, mode: number): string | undefined {
  try {
    return makeOne(path, mode);
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT' || dirname(path) === path) throw error;
  }
  const above = makeDirectory(dirname(path), mode);
  const own = makeOne(path, mode);
  return above ?? own;
}

function makeOne(path: string, mode: number): string | undefined {
  try {
    mkdirSync(path, { mode });
    return path;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT' || !statSync(path, { throwIfNoEntry: false })?.isDirectory()) throw error;
    return undefined;
  }
}
