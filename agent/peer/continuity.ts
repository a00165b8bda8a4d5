import { closeSync, openSync } from 'node:fs';
import { systemCodeOf } from '../kernel/errors.ts';
import { errorName, libc, uninterrupted } from './system/native.ts';
import { effectiveIds, type Ids } from './system/pidfd.ts';
import { ownerOf } from './system/proc.ts';

/** Whether a process is still what it was: `gone` when it is just exiting. Whether its pidfd says so already is not asked here. */
export type Standing = 'same' | 'changed' | 'gone';

const byte = Buffer.alloc(1);

/**
 * What was true of a process when it was first seen, to be compared with what is true now: its effective ids, and the memory that
 * its program runs in, which `execve` replaces. Costs about a microsecond a look.
 *
 * What the agent may not know (`hidepid`, a process that is not dumpable, no CAP_SYS_PTRACE and
 * CAP_DAC_READ_SEARCH over another user's) is not compared.
 * Neither `/proc/<pid>/environ` nor the file behind `/proc/<pid>/exe` is touched: the process decides which memory or file system
 * answers there, and could make the agent wait for ever.
 */
export class Continuity {
  readonly #pid: number;
  readonly #pidfd: number;
  readonly #ids: Ids;
  #memory: number | undefined;

  /**
   * @param ids what the process is expected to run under
   * @throws Error with `code` when the agent is out of descriptors or memory
   */
  constructor(pid: number, pidfd: number, ids: Ids) {
    this.#pid = pid;
    this.#pidfd = pidfd;
    this.#ids = ids;
    this.#memory = openMemory(pid);
  }

  /** False when an `execve` of this process goes unnoticed. */
  get noticesExec(): boolean {
    return this.#memory !== undefined;
  }

  standing(): Standing {
    const now = effectiveIds(this.#pidfd) ?? ownerOf(this.#pid);
    if (now !== undefined && (now.uid !== this.#ids.uid || now.gid !== this.#ids.gid)) return 'changed';
    if (this.#memory === undefined || isInUse(this.#memory)) return 'same';
    const successor = openMemory(this.#pid);
    if (successor === undefined) return 'gone';
    closeSync(successor);
    return 'changed';
  }

  close(): void {
    if (this.#memory !== undefined) closeSync(this.#memory);
    this.#memory = undefined;
  }
}

/**
 * Opens the page map of a process, for the one thing that it says without a look at a page: whether anybody still uses the memory
 * that it is the map of. `undefined` where the agent may not (`PTRACE_MODE_READ`), or the process has none.
 */
function openMemory(pid: number): number | undefined {
  // What is opened just before an execve is out of use right away.
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const fd = openReadable(`/proc/${pid}/pagemap`);
    if (fd === undefined || isInUse(fd)) return fd;
    closeSync(fd);
  }
  return undefined;
}

/**
 * A page map is read in units of eight bytes. Asked for one byte the kernel (`pagemap_read`) first looks whether the memory is still
 * in use, returns 0 when it is not, and only then complains with EINVAL; it takes no lock and touches no page.
 */
function isInUse(pagemap: number): boolean {
  return uninterrupted(() => libc.pread(pagemap, byte, 1, 0)) < 0 && errorName() === 'EINVAL';
}

function openReadable(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch (error) {
    // Without a descriptor there would be no telling later: that is the agent's lack, not the process'.
    if (['EMFILE', 'ENFILE', 'ENOMEM'].includes(systemCodeOf(error) ?? '')) throw error;
    return undefined;
  }
}
