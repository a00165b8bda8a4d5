import { createHash } from 'node:crypto';
import type { Selector } from '../kernel/selector.ts';
import type { Entry } from './entry.ts';
import type { EntrySet } from './entry-set.ts';

/**
 * Entries, found by selectors. Each stands under that one of its selectors which the fewest entries have: a caller's selectors lead
 * to few candidates, and each entry is a candidate once at most.
 */
export class EntryIndex implements EntrySet {
  readonly entries: readonly Entry[];
  readonly digest: string;
  readonly #bySelector = new Map<Selector, number[]>();
  readonly #expiries: readonly number[];

  /** @param entries with ids that differ, in any order */
  constructor(entries: Iterable<Entry>) {
    // By code units: an order by the machine's locale would change who is first, which clients take for the default.
    this.entries = Object.freeze([...entries].toSorted((a, b) => (a.id < b.id ? -1 : 1)));
    this.digest = digestOf(this.entries);
    this.#expiries = this.entries.flatMap(({ expiresAt }) => expiresAt ?? []).toSorted((a, b) => a - b);
    const counts = countSelectors(this.entries);
    for (const [position, { selectors }] of this.entries.entries()) {
      const rarest = selectors.reduce((a, b) => ((counts.get(b) ?? 0) < (counts.get(a) ?? 0) ? b : a));
      const bucket = this.#bySelector.get(rarest);
      if (bucket === undefined) this.#bySelector.set(rarest, [position]);
      else bucket.push(position);
    }
  }

  match(selectors: ReadonlySet<Selector>, now: number): readonly Entry[] {
    const positions: number[] = [];
    for (const selector of selectors) {
      for (const position of this.#bySelector.get(selector) ?? []) {
        if (entitles(this.entries[position], selectors, now)) positions.push(position);
      }
    }
    const hints = new Set<string>();
    return positions
      .toSorted((a, b) => a - b)
      .flatMap((position) => this.entries[position] ?? [])
      .filter(({ hint }) => hint === '' || (!hints.has(hint) && hints.add(hint)));
  }

  nextExpiry(now: number): number | undefined {
    let low = 0;
    let high = this.#expiries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#expiries[middle] ?? 0) > now) high = middle;
      else low = middle + 1;
    }
    return this.#expiries[low];
  }
}

function entitles(entry: Entry | undefined, own: ReadonlySet<Selector>, now: number): boolean {
  if (entry === undefined || (entry.expiresAt !== undefined && entry.expiresAt <= now)) return false;
  return entry.selectors.every((selector) => own.has(selector));
}

function countSelectors(entries: readonly Entry[]): ReadonlyMap<Selector, number> {
  const counts = new Map<Selector, number>();
  for (const { selectors } of entries) {
    for (const selector of selectors) counts.set(selector, (counts.get(selector) ?? 0) + 1);
  }
  return counts;
}

/** Over what an entry means: where it was written does not count, nor does the order of what is a set. */
function digestOf(entries: readonly Entry[]): string {
  const hash = createHash('sha256');
  for (const entry of entries) {
    const canonical = [
      entry.id,
      entry.spiffeId,
      entry.selectors.toSorted(),
      entry.owner ?? null,
      entry.x509SvidTtl ?? null,
      entry.jwtSvidTtl ?? null,
      entry.dnsNames,
      entry.hint,
      entry.federatesWith.toSorted(),
      entry.audiences?.toSorted() ?? null,
      entry.expiresAt ?? null,
    ];
    hash.update(`${JSON.stringify(canonical)}\n`);
  }
  return hash.digest('hex');
}
