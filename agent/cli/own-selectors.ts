import { readFileSync, readlinkSync } from 'node:fs';

// What the first user namespace of a machine says: each id is itself.
const OF_THE_MACHINE = /^\s*0\s+0\s+4294967295\s*$/;

/**
 * What a process knows of its own selectors, for the person who started it. In a user namespace, as in a container without root, that is
 * no id: the agent knows the process by those of the machine.
 *
 * @param uidMap the text of its `/proc/<pid>/uid_map`
 */
export function ownSelectors(uidMap: string = readUidMap()): string {
  const path = `unix:path:${executable()}`;
  return OF_THE_MACHINE.test(uidMap)
    ? [`unix:uid:${process.geteuid?.()}`, `unix:gid:${process.getegid?.()}`, path].join(', ')
    : `${path}, with ids that it cannot tell in its user namespace`;
}

function readUidMap(): string {
  try {
    return readFileSync('/proc/self/uid_map', 'utf8');
  } catch {
    return '';
  }
}

function executable(): string {
  try {
    return readlinkSync('/proc/self/exe');
  } catch {
    return process.execPath;
  }
}
