import { readText } from './proc.ts';

/**
 * The path in the unified hierarchy (`0::`); or that of every hierarchy, a line each and in the order of their names, on a machine
 * where the old ones are in use and leave everybody at the root of the unified one.
 *
 * @param text of a `/proc/<pid>/cgroup`, whose paths are as the agent's own cgroup namespace shows them
 */
export function cgroupIn(text: string): string | undefined {
  const paths = pathsIn(text);
  const unified = paths.get('');
  if (unified !== undefined && (unified !== '/' || paths.size === 1)) return unified;
  const all = Array.from(paths, ([controllers, path]) => `${controllers}:${path}`).toSorted();
  return all.length === 0 ? undefined : all.join('\n');
}

/** Whether a process has been moved between two readings. A hierarchy that was mounted or unmounted meanwhile moves nobody. */
export function isMoved(before: string, now: string): boolean {
  const paths = pathsIn(before);
  return Array.from(pathsIn(now)).some(([controllers, path]) => (paths.get(controllers) ?? path) !== path);
}

/** Whether this machine has hierarchies beside the unified one, or in its place. */
export function hasOldHierarchies(): boolean {
  old ??= Array.from(pathsIn(readText('/proc/self/cgroup') ?? '').keys()).some((controllers) => controllers !== '');
  return old;
}

let old: boolean | undefined;

/**
 * The paths by controllers: none for the unified hierarchy, which so has an empty name. Only newlines are kept out of the names in a
 * path, which may be a user's own.
 */
function pathsIn(text: string): Map<string, string> {
  return new Map(
    text.split('\n').flatMap((line) => {
      const [, controllers, path] = /^\d+:([^:]*):(.+)$/s.exec(line) ?? [];
      return controllers === undefined || path === undefined ? [] : [[controllers, path]];
    }),
  );
}
