import { closeSync, constants, openSync, readlinkSync } from 'node:fs';
import { type FileStatus, knownStatus } from '../../peer/system/file-status.ts';
import { O_PATH, openPlainPath } from '../../peer/system/plain-path.ts';

/**
 * The program that a process runs, held by a descriptor: what is found through it is true of one file, whatever the process or its
 * directories become meanwhile.
 */
export interface Executable {
  readonly descriptor: number;
  /**
   * The path of the file as the process' own mount namespace shows it: any user can make a namespace in which his program stands
   * at `/usr/bin/payments`. A file that was removed since ends with ` (deleted)`.
   */
  readonly path: string;
  close(): void;
}

/**
 * Opens `/proc/<pid>/exe`. Only procfs is asked, which answers from memory: that is why it may be done in line.
 *
 * @throws the system's error: `EACCES` or `EPERM` when the agent may not look at this process, `ENOENT` or `ESRCH` when there is no
 * such process, or none that the agent may see (`hidepid`)
 */
export function openExecutable(pid: number): Executable {
  const descriptor = openSync(`/proc/${pid}/exe`, constants.O_RDONLY | O_PATH);
  const close = (): void => closeSync(descriptor);
  try {
    // Of the descriptor and not of the process again, which may run another program by now.
    return { descriptor, path: readlinkSync(`/proc/self/fd/${descriptor}`), close };
  } catch (error) {
    close();
    throw error;
  }
}

/**
 * The file that the agent itself finds at `path`, in its own mount namespace; `undefined` when there is none. A link leads to none: the
 * kernel shows the path of a file without any, and what is a link for the agent is another path to it.
 */
export async function statusAtPath(path: string): Promise<FileStatus | undefined> {
  const descriptor = await openPlainPath(path);
  if (descriptor === undefined) return undefined;
  try {
    return knownStatus(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** True when both are one file. An inode number alone is not one: each file system has its own. */
export function isSameFile(a: FileStatus, b: FileStatus): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}
