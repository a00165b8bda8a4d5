import { closeSync, constants, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Replaces a file whole: a reader, or a crash, finds the old one or the new one. When it returns the new one is on the disk; a failure
 * leaves the old one. Writes `<path>.tmp` on the way.
 *
 * @throws the system's error
 */
export function replaceFile(path: string, text: string, mode: number): void {
  const temporary = `${path}.tmp`;
  try {
    // Left over from a crash; created anew, so that its mode is ours.
    rmSync(temporary, { force: true });
    const descriptor = openSync(temporary, 'wx', mode);
    try {
      writeFileSync(descriptor, text);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(temporary, path);
    syncDirectory(dirname(path));
  } catch (error) {
    removeQuietly(temporary);
    throw error;
  }
}

/** A new, renamed or removed name is durable once its directory is. */
export function syncDirectory(path: string): void {
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
