import { agentFigures } from './agent-figures.ts';
import { readDisk } from './disk.ts';
import type { EntryLabels } from './entry-labels.ts';
import type { Group, Reading } from './family.ts';
import { leaseFigures } from './lease-figures.ts';
import { ledgerFigures } from './ledger-figures.ts';
import { peerFigures } from './peer-figures.ts';
import { processFigures } from './process-figures.ts';
import { revocationFigures } from './revocation-figures.ts';
import type { MetricSources } from './scrape.ts';

/** What is read at each scrape, in the order of the reference. */
export const GROUPS: readonly Group[] = [
  agentFigures,
  peerFigures,
  leaseFigures,
  revocationFigures,
  ledgerFigures,
  processFigures,
];

/** What there is to tell now, by the names of metrics. */
export type Readings = readonly (readonly [name: string, reading: Reading])[];

/** Reads all groups at one moment, once the disk has answered. */
export async function readFigures(sources: () => MetricSources, entryLabels: EntryLabels): Promise<Readings> {
  const disk = await readDisk(sources().config.value.dataDir);
  const scrape = { ...sources(), disk, entryLabels };
  return GROUPS.flatMap(({ read }) => Object.entries(read(scrape)));
}
