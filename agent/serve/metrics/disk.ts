import { statfs } from 'node:fs/promises';

/** A file system, in bytes. */
export interface Disk {
  readonly size: number;
  /** For those who are not root. */
  readonly available: number;
}

// A file system of the network may not answer, and a scrape has other things to tell.
const WITHIN_MS = 1000;

/** The file system that a path is on, or `undefined` when it cannot be asked. */
export async function readDisk(path: string): Promise<Disk | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), WITHIN_MS);
  try {
    const found = await Promise.race([statfs(path), late.promise]);
    return found && { size: found.blocks * found.bsize, available: found.bavail * found.bsize };
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}
