import { readText } from './proc.ts';

/** Of users or of groups. */
export type IdKind = 'uid' | 'gid';

// What the first user namespace of a machine says: each id is itself.
const OF_THE_MACHINE = /^\s*0\s+0\s+4294967295\s*$/;

const stands: Partial<Record<IdKind, number>> = {};

/**
 * Whether a number that the kernel has told may be anybody's: in a user namespace that has no number for some, all of these go by one
 * (user_namespaces(7)), which may be somebody's there as well.
 */
export function isAnybodys(kind: IdKind, id: number): boolean {
  return id === (stands[kind] ??= standIn(kind));
}

/** The number of those who have none; one that nobody has where there are none. */
function standIn(kind: IdKind): number {
  if (OF_THE_MACHINE.test(readText(`/proc/self/${kind}_map`) ?? '')) return -1;
  return Number(readText(`/proc/sys/kernel/overflow${kind}`) ?? 65_534);
}
