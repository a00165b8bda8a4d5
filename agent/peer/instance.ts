/**
 * Why a process instance is over: the process exited, or it is no longer what it was: it runs another program (`execve`), under other
 * ids, in another cgroup or in another namespace.
 */
export type InstanceEnd = 'exited' | 'executed' | 'changed-ids' | 'changed-cgroup' | 'changed-namespace';

/** What the kernel says of a process, so that a later agent can tell whether it still is the same. Nothing of it is secret. */
export interface InstanceFacts {
  /** The kernel's own number of the process, the inode of its pidfd, unique until the machine is started again (Linux 6.9). */
  readonly inode: string | undefined;
  /** As the process' own mount namespace shows it; `undefined` where the agent may not look. */
  readonly executable: string | undefined;
  /** The path in the unified hierarchy, or of every hierarchy where that one is not in use; `undefined` where the agent may not look. */
  readonly cgroup: string | undefined;
  /** The inode of each namespace by its kind: `mnt`, `user`, …; `undefined` where the agent may not look. */
  readonly namespaces: Readonly<Record<string, string>> | undefined;
  /** A digest of where its memory lies, which `execve` draws anew; `undefined` where the agent may not look. */
  readonly layout: string | undefined;
}

/** What a process whose instance is over has done, such that "process 7 …" reads well. */
export const END_TEXTS: Readonly<Record<InstanceEnd, string>> = {
  exited: 'has exited',
  executed: 'has executed another program',
  'changed-ids': 'has changed its user or group',
  'changed-cgroup': 'has been moved to another cgroup',
  'changed-namespace': 'has entered another namespace',
};

/** {@link END_TEXTS}, also of an instance that was let go of. */
export function endText(end: InstanceEnd | undefined): string {
  return end === undefined ? 'is no longer connected' : END_TEXTS[end];
}

/**
 * One living process, held by its pidfd so that its number cannot come to mean another. All connections of the same live process
 * share one instance; nothing else ever does.
 */
export interface ProcessInstance {
  /**
   * `<pid>.<start time>.<n>`, unique in this run of the agent: `n` tells what one process was before an `execve` and after. For logs
   * and tables, never for authorisation.
   */
  readonly key: string;
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  /**
   * Field 22 of `/proc/<pid>/stat`, in clock ticks since boot: tells two holders of one pid apart. `unknown` where `/proc` hides the
   * process from the agent.
   */
  readonly startTime: string;
  /** `/proc/sys/kernel/random/boot_id`. */
  readonly bootId: string;
  /**
   * How strongly the kernel vouches: `pidfd` from the socket itself (Linux 6.5), or found again by the inode of its pidfd, or
   * `start-time`, opened by number and checked.
   */
  readonly proof: 'pidfd' | 'start-time';
  /** What it was when it was first asked for, read once. Believe it only if {@link alive} says so afterwards. */
  facts(): InstanceFacts;
  /** Set once, and then for good. */
  readonly end: InstanceEnd | undefined;
  /**
   * Asks the kernel, now, whether the process lives and still is what connected. False for ever once it was false, and when nothing
   * holds the instance any more.
   *
   * @param depth `whole` where something was read of the process that has to be its own: `full`, which is enough otherwise, does not look
   * again within a tenth of a second at what is dear to look at
   */
  alive(depth?: 'full' | 'whole'): boolean;
  /** Runs `run` once at the end, at once when it is already over; never when the instance is let go of. Returns how to take it back. */
  onEnd(run: (reason: InstanceEnd) => void): () => void;
  /**
   * Keeps the instance watched while no connection of it is open; returns the release. Holds nothing of one that has ended.
   *
   * @throws MayflyError `CALLER_UNKNOWN` when nothing has held it for a moment: its process cannot be asked about any more
   */
  hold(): () => void;
}
