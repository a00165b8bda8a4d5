import { createHash } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import type { InstanceFacts } from './instance.ts';
import { cgroupIn } from './system/cgroups.ts';
import { pidfdInode } from './system/pidfd.ts';
import { layoutIn, readStat, readText } from './system/proc.ts';

/** What is known of a process that is not held any more. */
export const NO_FACTS: InstanceFacts = Object.freeze({
  inode: undefined,
  executable: undefined,
  cgroup: undefined,
  namespaces: undefined,
  layout: undefined,
});

const ADDR_NO_RANDOMIZE = 0x0040000;
// 96 bits: nobody has anything of finding another layout with the same ones.
const DIGEST_CHARACTERS = 24;

/**
 * Reads what tells a process and its program from any other, by `/proc` alone: no other file system is asked. It is said of the
 * holder of the number, so it is to be believed only if the pidfd says afterwards that its process lives.
 *
 * @param namespaces those that it was in when it was first seen
 */
export function readFacts(pid: number, pidfd: number, namespaces: InstanceFacts['namespaces']): InstanceFacts {
  const groups = readText(`/proc/${pid}/cgroup`);
  return Object.freeze({
    inode: pidfdInode(pidfd),
    executable: executableOf(pid),
    cgroup: groups === undefined ? undefined : cgroupIn(groups),
    namespaces,
    layout: layoutOf(pid),
  });
}

/** The link is read, not followed: the file may be anywhere, and whoever serves it could make the agent wait. */
function executableOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    // ENOENT, ESRCH, EACCES: nothing can be known of it.
    return undefined;
  }
}

/** A digest, so that what is written down helps nobody to find his way in the memory of a living process. */
function layoutOf(pid: number): string | undefined {
  const stat = readStat(pid);
  const layout = stat === undefined ? undefined : layoutIn(stat);
  if (layout === undefined || !isRandomized(pid)) return undefined;
  return createHash('sha256').update(layout).digest('hex').slice(0, DIGEST_CHARACTERS);
}

/** Whether the kernel draws where things lie; the same program would look the same after an `execve` otherwise. */
function isRandomized(pid: number): boolean {
  const personality = Number.parseInt(readText(`/proc/${pid}/personality`) ?? '', 16);
  if (Number.isNaN(personality) || (personality & ADDR_NO_RANDOMIZE) !== 0) return false;
  return readText('/proc/sys/kernel/randomize_va_space')?.trim() !== '0';
}
