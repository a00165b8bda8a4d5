import type { Vocabulary } from '../attest/vocabulary.ts';
import type { TrustDomain } from '../kernel/spiffe-id.ts';
import type { Entry } from './entry.ts';

/** What the rest of the agent makes of entries. */
export interface EntrySurroundings {
  readonly vocabulary: Vocabulary;
  /** The trust domains whose bundles are configured. */
  readonly federated: ReadonlySet<TrustDomain>;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

const MOST_TOLD = 50;

/** What is allowed in entries and probably not meant: a sentence each, for the first fifty. */
export function entryWarnings(entries: readonly Entry[], surroundings: EntrySurroundings): readonly string[] {
  const told: string[] = [];
  let count = 0;
  for (const entry of entries) {
    for (const doubt of doubts(entry, surroundings)) {
      count += 1;
      if (told.length < MOST_TOLD) told.push(`${entry.source}: entry ${entry.id}: ${doubt}`);
    }
  }
  return count > told.length ? [...told, `and ${count - told.length} more warnings about entries`] : told;
}

function* doubts(entry: Entry, { vocabulary, federated, now }: EntrySurroundings): Generator<string> {
  for (const selector of entry.selectors) {
    const never = vocabulary.neverSaid(selector);
    if (never !== undefined) yield `no process can match it: ${JSON.stringify(selector)} ${never}`;
  }
  for (const domain of entry.federatesWith) {
    if (!federated.has(domain)) {
      yield `it federates with ${domain}, whose bundle nobody gets: bundles has no file for that trust domain`;
    }
  }
  if (entry.expiresAt !== undefined && entry.expiresAt <= now) {
    yield `it has expired at ${new Date(entry.expiresAt).toISOString()} and gives nobody an identity`;
  }
}
