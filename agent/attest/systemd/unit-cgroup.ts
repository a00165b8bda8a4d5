/** What the cgroup of a process says of its unit, without anybody being asked. */
export interface UnitCgroup {
  /** The names on the way to it, from the root on. */
  readonly names: readonly string[];
}

// A process is in one of these, and a manager makes no cgroup without one of these endings.
const UNIT = /^[A-Za-z0-9:_.\\@-]+\.(service|scope|slice|socket|mount|swap)$/;

/**
 * Where in systemd's hierarchy a process is: the unified one, or, where that is not in use, the one that is named after systemd.
 * `undefined` when it certainly is in no unit: no name on the way is a unit's.
 *
 * @param text of a `/proc/<pid>/cgroup`
 */
export function unitCgroupIn(text: string): UnitCgroup | undefined {
  const path = pathIn(text, /^\d+:name=systemd:(.*)$/s) ?? pathIn(text, /^0::(.*)$/s) ?? '';
  const names = path.split('/').filter((name) => name !== '');
  return names.some(isUnit) ? { names: names.map(unescaped) } : undefined;
}

/** Lines end with a newline and nothing else: a carriage return may stand in a name, and what follows it is somebody's invention. */
function pathIn(text: string, line: RegExp): string | undefined {
  for (const each of text.split('\n')) {
    const path = line.exec(each)?.[1];
    if (path !== undefined) return path;
  }
  return undefined;
}

/** Whether systemd means this process when it names that unit: the process is in the cgroup of that name, or below it. */
export function isIn(cgroup: UnitCgroup, unit: string): boolean {
  return cgroup.names.includes(unit);
}

/** A unit of a user's own manager, which that user calls as he likes. */
export interface UserUnit {
  readonly uid: string;
  readonly unit: string;
}

/**
 * The unit of a user's manager that a process is in: the first below `user@<uid>.service` that is no slice.
 *
 * @param unit the unit of the system's manager that the process is in, as that manager has said. Below it everything, names too, is
 * made by the user, whoever he says that he is.
 */
export function userUnitIn({ names }: UnitCgroup, unit: string): UserUnit | undefined {
  const uid = /^user@(\d+)\.service$/.exec(unit)?.[1];
  if (uid === undefined) return undefined;
  const below = names.slice(names.indexOf(unit) + 1).find((name) => !name.endsWith('.slice'));
  return below === undefined || !isUnit(below) ? undefined : { uid, unit: below };
}

/** Whether this may be the name of a unit that processes are in. */
export function isUnit(name: string): boolean {
  return name.length <= 255 && UNIT.test(name);
}

/** Names that the kernel could take for files of its own have an underscore in front. */
function unescaped(name: string): string {
  return name.startsWith('_') && isUnit(name.slice(1)) ? name.slice(1) : name;
}
