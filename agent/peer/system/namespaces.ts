import { libc } from './native.ts';

/** The kinds of namespace that a process is in itself; those that only its children will be in are not among them. */
const KINDS = ['user', 'mnt', 'net', 'uts', 'ipc', 'cgroup', 'time'] as const;

/** `mnt:[4026531832]` for each kind, in a fixed order; empty where it is not told. */
export type Namespaces = readonly string[];

// Made and read within one synchronous call.
const paths = KINDS.map((kind) => ({ kind, path: Buffer.alloc(48) }));
const link = Buffer.alloc(64);

/**
 * In which namespaces a process is now. The links are read, not followed: no namespace is opened or kept. `undefined` where the
 * agent may not look (`PTRACE_MODE_READ`), or there is no such process.
 */
export function readNamespaces(pid: number): Namespaces | undefined {
  const all = paths.map(({ kind, path }) => {
    path.write(`/proc/${pid}/ns/${kind}\0`, 'latin1');
    const size = libc.readlink(path, link, link.length);
    return size < 0 ? '' : link.toString('latin1', 0, size);
  });
  return all.every((text) => text === '') ? undefined : all;
}

/**
 * Whether a process that was in `before` has entered another namespace. What is not told now has not changed: the kernel tells
 * nothing of a thread that is over, and is too old for some kinds.
 */
export function differ(before: Namespaces, now: Namespaces): boolean {
  return now.some((text, index) => text !== '' && text !== before[index]);
}

/** The inode of each namespace by its kind. */
export function byKind(namespaces: Namespaces): Record<string, string> {
  return Object.fromEntries(
    namespaces.flatMap((text, index) => {
      const inode = /\[(\d+)\]$/.exec(text)?.[1];
      return inode === undefined ? [] : [[KINDS[index], inode]];
    }),
  );
}
