import { readFileSync, statSync } from 'node:fs';
import type { Ids } from './pidfd.ts';

// Field 22 of /proc/<pid>/stat, counted from field 3: the first behind the name, which may hold blanks and parentheses.
const START_TIME_FIELD = 22 - 3;

/**
 * When a process started, in clock ticks since boot: field 22 of `/proc/<pid>/stat`. `undefined` where there is no such process, or
 * `/proc` hides it (`hidepid`).
 */
export function readStartTime(pid: number): string | undefined {
  const stat = read(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  return startTimeIn(stat);
}

/** The start time in the text of a `/proc/<pid>/stat`; `undefined` when it is none. */
export function startTimeIn(stat: string): string | undefined {
  const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[START_TIME_FIELD];
  return ticks !== undefined && /^\d+$/.test(ticks) ? ticks : undefined;
}

/** The number that the kernel drew when it started. */
export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/**
 * The effective ids of a process, from the owner of `/proc/<pid>`: of that directory the kernel tells them even where the process is
 * not dumpable. `undefined` where there is no such process, or `/proc` hides it.
 */
export function ownerOf(pid: number): Ids | undefined {
  const stat = statSync(`/proc/${pid}`, { throwIfNoEntry: false });
  return stat === undefined ? undefined : { uid: stat.uid, gid: stat.gid };
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    // ENOENT, ESRCH, EACCES: all of them mean that this process cannot be looked at.
    return undefined;
  }
}
