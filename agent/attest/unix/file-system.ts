import { readlinkSync } from 'node:fs';
import { findLine } from '../../peer/system/proc.ts';

interface Mount {
  readonly id: string;
  /** Major and minor number. */
  readonly device: string;
  readonly type: string;
}

/**
 * Why a process' file must not be read, such that "it …" reads well; `undefined` when it may be. Behind FUSE is a process, which answers
 * when and what it likes. Users may mount that in namespaces of their own, and overlays over it, which do not look like it.
 *
 * @param mount the number of the mount that the file was opened by
 */
export function whyNotRead(pid: number, mount: string): string | undefined {
  const isIt = ({ id }: Mount): boolean => id === mount;
  // A process that has changed its root or its mounts since it was started may not show what it was started from.
  const here = mountIn('/proc/self/mountinfo', isIt);
  const found = here ?? mountIn(`/proc/${pid}/mountinfo`, isIt);
  if (found === undefined) return 'lies in a file system that its process has not mounted';
  if (found.type.startsWith('fuse')) return 'lies in FUSE, which may show each reader something else';
  if (here !== undefined || found.type !== 'overlay' || isOfOwnUsers(pid)) return undefined;
  // Whoever runs containers in user namespaces has mounted it for the agent too.
  const again = mountIn('/proc/self/mountinfo', ({ device }) => device === found.device);
  return again === undefined ? 'lies in an overlay that a user may have mounted, over what he likes' : undefined;
}

function mountIn(path: string, isWanted: (mount: Mount) => boolean): Mount | undefined {
  let found: Mount | undefined;
  findLine(path, (line) => {
    const [before = '', after = ''] = line.split(' - ', 2);
    const [id = '', , device = ''] = before.split(' ', 3);
    const mount = { id, device, type: after.split(' ', 1)[0] ?? '' };
    if (!isWanted(mount)) return false;
    found = mount;
    return true;
  });
  return found;
}

/** Whether a process is in the agent's own user namespace: only its root has mounted what is mounted there. */
function isOfOwnUsers(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/ns/user`) === readlinkSync('/proc/self/ns/user');
  } catch {
    return false;
  }
}
