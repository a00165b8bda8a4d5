import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { EntrySpec } from './agent.ts';
import { ROOT } from './equipment.ts';
import { EXAMPLES } from './examples.ts';

const OWN_UID = process.getuid?.() ?? 0;

/** The groups that tell the programs apart: root alone can give them, and stays root to read what is built. */
const GROUPS = { greeter: 64_101, caller: 64_102, stranger: 64_103 } as const;
type Name = keyof typeof GROUPS;

/** For others all programs are one workload. */
const apart = ROOT.kind === 'ready';

export const greeterId = 'spiffe://example.org/greeter';
export const callerId = apart ? 'spiffe://example.org/caller' : greeterId;

/** What to start a program with, so that it is the one of this name. */
export function idsOf(name: Name): { readonly gid?: number } {
  return apart ? { gid: GROUPS[name] } : {};
}

/** Selectors of the program of this name. */
export function selectorsOf(name: Name): readonly string[] {
  return [`unix:uid:${OWN_UID}`, ...(apart ? [`unix:gid:${GROUPS[name]}`] : [])];
}

/** The entries of an example as they stand, but for the users, which this machine need not have. */
export function exampleEntries(folder: string, more: Partial<EntrySpec> = {}): readonly EntrySpec[] {
  const { entries } = parse(readFileSync(join(EXAMPLES, folder, 'entries.yaml'), 'utf8')) as { entries: EntrySpec[] };
  return entries
    .filter(({ id }) => apart || id === 'greeter')
    .map((entry) => ({ ...entry, ...more, selectors: selectorsOf(entry.id === 'greeter' ? 'greeter' : 'caller') }));
}
