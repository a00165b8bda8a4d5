import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { ProcessInstance } from '../../peer/instance.ts';
import { readText } from '../../peer/system/proc.ts';
import { containerIn } from './container-id.ts';
import type { ContainerPlace } from './container-path.ts';

// Where systemd has version 2 alone. Users have cgroups of their own with no other.
const CGROUPS = '/sys/fs/cgroup';

/**
 * Which container a process is in, by what the kernel says of it now. Procfs and cgroupfs answer from memory and are asked in line.
 *
 * @param cgroups where the agent has the hierarchy of version 2
 * @throws Error when that cannot be told: also where `/proc` hides the process from the agent
 */
export function containerOf(
  { pid }: Pick<ProcessInstance, 'pid'>,
  cgroups: string = CGROUPS,
): ContainerPlace | undefined {
  return placeOf(pid, readText(`/proc/${pid}/mountinfo`), cgroups);
}

/**
 * Who is counted with a process where there is not enough for everybody: its pod, or its container, since most of them run as root, and
 * else its user. Such that "… has 7 connections" reads well. Of whom no more can be told it is the user, and so of a container that a
 * user has named himself.
 */
export function tenantOf({ pid, uid }: Pick<ProcessInstance, 'pid' | 'uid'>, cgroups: string = CGROUPS): string {
  const user = `uid ${uid}`;
  try {
    const place = placeOf(pid, undefined, cgroups);
    if (place === undefined || place.owner !== undefined) return user;
    return place.podUid === undefined ? `container ${place.id}` : `pod ${place.podUid}`;
  } catch {
    return user;
  }
}

function placeOf(pid: number, mountinfo: string | undefined, cgroups: string): ContainerPlace | undefined {
  const cgroup = readText(`/proc/${pid}/cgroup`);
  if (cgroup === undefined) throw new Error(`/proc/${pid}/cgroup cannot be read`);
  const place = containerIn(cgroup, mountinfo);
  if (place === undefined || place.owner !== undefined) return place;
  return { ...place, owner: delegatedTo(place.cgroup, cgroups) };
}

/**
 * Who makes the names beside a container's: the owner of the cgroup above it, which a unit of the system may have given to its user
 * (`Delegate=`, `User=`) as his own manager has. `undefined` for root, and where the agent does not see it: then its path is all there is.
 */
function delegatedTo(path: string, cgroups: string): number | undefined {
  // Relative to what the agent sees of the hierarchy, it leads elsewhere.
  if (path.startsWith('/..')) return undefined;
  try {
    const { uid } = statSync(`${cgroups}${dirname(path)}`);
    return uid === 0 ? undefined : uid;
  } catch {
    return undefined;
  }
}
