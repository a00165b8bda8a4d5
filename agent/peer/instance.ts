/** Why a process instance is over: the process exited, or it became another program or principal under the same pid. */
export type InstanceEnd = 'exited' | 'changed';

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
  /** How strongly the kernel vouches: `pidfd` from the socket itself (Linux 6.5), or `start-time`, opened by number and checked. */
  readonly proof: 'pidfd' | 'start-time';
  /** Set once, and then for good. */
  readonly end: InstanceEnd | undefined;
  /**
   * Asks the kernel, now, whether the process lives and still is what connected. False for ever once it was false, and when nothing
   * holds the instance any more.
   */
  alive(): boolean;
  /** Runs `run` once at the end, at once when it is already over; never when the instance is let go of. Returns how to take it back. */
  onEnd(run: (reason: InstanceEnd) => void): () => void;
  /**
   * Keeps the instance watched while no connection of it is open; returns the release. Holds nothing of one that has ended.
   *
   * @throws MayflyError `CALLER_UNKNOWN` when nothing has held it for a moment: its process cannot be asked about any more
   */
  hold(): () => void;
}
