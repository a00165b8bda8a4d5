import { closeSync } from 'node:fs';
import type { Clock } from '../kernel/clock.ts';
import { CgroupWatch } from './cgroup-watch.ts';
import type { InstanceEnd } from './instance.ts';
import { NamespaceWatch } from './namespace-watch.ts';
import { byKind } from './system/namespaces.ts';
import { errorName, libc, uninterrupted } from './system/native.ts';
import { describe, type Ids } from './system/pidfd.ts';
import { openText, ownerOf, readText } from './system/proc.ts';

/**
 * Whether a process is still what it was, or what has changed; `gone` when it is just exiting. Whether its pidfd says so already is
 * not asked here.
 */
export type Standing = 'same' | 'gone' | Exclude<InstanceEnd, 'exited'>;

// Seven namespaces cost several times what all else does, and a busy client makes a thousand calls a second.
const FRESH_MS = 100;

/**
 * How much is looked at: `full` for all, what is dear of it once in a tenth of a second; `whole` for all of it now; `quick` for what is cheap, that is without namespaces, and without cgroups of which the kernel
 * tells no number; `told` for what of that nobody tells of where the process connector tells of an `execve`.
 */
export type Depth = 'whole' | 'full' | 'quick' | 'told';

const byte = Buffer.alloc(1);

/**
 * What was true of a process when it was first seen, to be compared with what is true now: the memory that its program runs in, which
 * `execve` replaces, its effective ids, its cgroup and its namespaces. A look costs a few microseconds, and ten times that when the
 * process has run since the last one and its namespaces are looked at.
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
  readonly #cgroup: CgroupWatch;
  readonly #namespaces: NamespaceWatch;
  readonly #clock: Clock;
  #memory: number | undefined;
  readonly #vector: string | undefined;
  #fullAt: number;

  /**
   * @param ids what the process is expected to run under
   * @throws Error with `code` when the agent is out of descriptors or memory
   */
  constructor(pid: number, pidfd: number, ids: Ids, clock: Clock) {
    this.#pid = pid;
    this.#pidfd = pidfd;
    this.#ids = ids;
    this.#clock = clock;
    this.#fullAt = clock.monotonic();
    const stack = new DisposableStack();
    try {
      this.#memory = openMemory(pid);
      stack.defer(() => this.#closeMemory());
      this.#vector = readVector(pid);
      this.#cgroup = stack.adopt(new CgroupWatch(pid, describe(pidfd)?.cgroup), (it) => it.close());
      this.#namespaces = new NamespaceWatch(pid, clock);
    } catch (error) {
      stack.dispose();
      throw error;
    }
  }

  /** False when an `execve` of this process goes unnoticed. */
  get noticesExec(): boolean {
    return this.#memory !== undefined;
  }

  /** False when another namespace goes unnoticed. */
  get noticesNamespaces(): boolean {
    return this.#namespaces.notices;
  }

  /** The inode of each namespace that the process was in when it was first seen; `undefined` where the agent may not look. */
  get namespaces(): Readonly<Record<string, string>> | undefined {
    const { first } = this.#namespaces;
    return first === undefined ? undefined : byKind(first);
  }

  /**
   * In this order: an `execve` of a set-user-id program changes the ids as well.
   */
  standing(depth: Depth = 'full'): Standing {
    if (depth !== 'told' && this.#memory !== undefined && !isInUse(this.#memory)) return this.#successor();
    const description = describe(this.#pidfd);
    const now = description ?? ownerOf(this.#pid);
    if (now !== undefined && (now.uid !== this.#ids.uid || now.gid !== this.#ids.gid)) return 'changed-ids';
    if (this.#cgroup.changed(description?.cgroup)) return 'changed-cgroup';
    if (depth !== 'whole' && (depth !== 'full' || !this.#fullIsDue())) return 'same';
    if (this.#memory !== undefined && !this.#hasVector()) return this.#successor();
    if (this.#cgroup.changedInText()) return 'changed-cgroup';
    return this.#namespaces.changed() ? 'changed-namespace' : 'same';
  }

  close(): void {
    this.#closeMemory();
    this.#cgroup.close();
    this.#namespaces.close();
  }

  #fullIsDue(): boolean {
    const now = this.#clock.monotonic();
    if (now - this.#fullAt < FRESH_MS) return false;
    this.#fullAt = now;
    return true;
  }

  /**
   * What a process leaves may be in use by another, which it shares it with (`vfork(2)`, `clone(2)` with CLONE_VM). Where its program
   * lies is drawn anew then as well; a process that has that switched off (ADDR_NO_RANDOMIZE) has itself to thank.
   */
  #hasVector(): boolean {
    const now = readVector(this.#pid);
    return now === undefined || this.#vector === undefined || now === this.#vector;
  }

  #successor(): Standing {
    const successor = openMemory(this.#pid);
    if (successor === undefined) return 'gone';
    closeSync(successor);
    return 'executed';
  }

  #closeMemory(): void {
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
    const fd = openText(`/proc/${pid}/pagemap`);
    if (fd === undefined || isInUse(fd)) return fd;
    closeSync(fd);
  }
  return undefined;
}

/**
 * What the kernel has told a program when it was started, with the addresses that it has drawn for it: `undefined` where the agent may not
 * look (`PTRACE_MODE_READ`), or the first thread is over.
 */
function readVector(pid: number): string | undefined {
  return readText(`/proc/${pid}/auxv`) || undefined;
}

/**
 * A page map is read in units of eight bytes. Asked for one byte the kernel (`pagemap_read`) first looks whether the memory is still
 * in use, returns 0 when it is not, and only then complains with EINVAL; it takes no lock and touches no page.
 */
function isInUse(pagemap: number): boolean {
  return uninterrupted(() => libc.pread(pagemap, byte, 1, 0)) < 0 && errorName() === 'EINVAL';
}
