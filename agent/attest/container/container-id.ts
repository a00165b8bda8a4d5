import { MayflyError } from '../../kernel/errors.ts';
import { ambiguous, type ContainerPlace, containerAt } from './container-path.ts';

const LINE = /^\d+:[^:]*:(.*)$/s;

/**
 * Which container a process is in; `undefined` when it certainly is in none that this agent could know. A process in the agent's own
 * container is such a one where the agent has a cgroup namespace of its own: it is at `/`.
 *
 * The kernel and the engines keep `cgroup`, so that alone says where a process is. What it has mounted is up to the process, in a
 * user namespace of its own at the latest, so `mountinfo` proves nothing; but an engine mounts into a container the container's own
 * cgroup, and a process which shows another's has come from there, or is up to something.
 *
 * @param cgroup the text of `/proc/<pid>/cgroup`, of version 1, 2 or both
 * @param mountinfo the text of `/proc/<pid>/mountinfo`, or as much of it as was read; `undefined` when it is not to be had
 * @throws MayflyError `ATTESTATION_FAILED` when hierarchies or mounts name different containers, or a path is not to be believed
 */
export function containerIn(cgroup: string, mountinfo: string | undefined): ContainerPlace | undefined {
  let found: ContainerPlace | undefined;
  for (const path of pathsIn(cgroup)) {
    const place = containerAt(path);
    // A hierarchy that the engine does not use, or that is for the sake of systemd alone, leaves everybody outside.
    if (place === undefined) continue;
    if (found !== undefined && !isSame(found, place))
      throw ambiguous(path, `names another container than ${JSON.stringify(found.cgroup)} does`);
    found = place;
  }
  if (found !== undefined && mountinfo !== undefined) assertMountedFrom(found, mountinfo);
  return found;
}

function pathsIn(cgroup: string): string[] {
  return cgroup
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [, path] = LINE.exec(line) ?? [];
      if (path === undefined)
        throw new MayflyError(
          'ATTESTATION_FAILED',
          `${JSON.stringify(line.slice(0, 400))} is no line of a /proc/<pid>/cgroup`,
        );
      return path;
    });
}

function isSame(one: ContainerPlace, other: ContainerPlace): boolean {
  return one.engine === other.engine && one.id === other.id && one.podUid === other.podUid && one.owner === other.owner;
}

function assertMountedFrom(place: ContainerPlace, mountinfo: string): void {
  for (const root of cgroupRootsIn(mountinfo)) {
    const other = containerAt(root);
    if (other !== undefined && other.id !== place.id)
      throw ambiguous(place.cgroup, `is not what the process has mounted, ${JSON.stringify(root.slice(0, 400))}`);
  }
}

/** Which cgroups are mounted, of a text whose last line may be cut off. See proc_pid_mountinfo(5) for its fields. */
function cgroupRootsIn(mountinfo: string): string[] {
  return mountinfo.split('\n').flatMap((line) => {
    const [mount = '', source] = line.split(' - ', 2);
    const [, , , root] = mount.split(' ', 4);
    const type = source?.split(' ', 1)[0];
    return root !== undefined && root.startsWith('/') && (type === 'cgroup' || type === 'cgroup2')
      ? [unescaped(root)]
      : [];
  });
}

/** Blanks, tabs, newlines and backslashes are written in octal. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
