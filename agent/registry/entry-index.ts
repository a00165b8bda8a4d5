import { createHash } from 'node:crypto';
import type { Selector } from '../kernel/selector.ts';
import type { Entry } from './entry.ts';
import type { EntrySet, Match } from './entry-set.ts';
import type { Misfit } from './renderer.ts';
import { identityOf, isTemplate, type WrittenEntry } from './written-entry.ts';

/**
 * Entries, found by selectors. Each stands under that one of its selectors which the fewest entries have: a caller's selectors lead
 * to few candidates, and each entry is a candidate once at most. A template without selectors is everybody's.
 */
export class EntryIndex implements EntrySet {
  readonly entries: readonly WrittenEntry[];
  readonly digest: string;
  readonly #bySelector = new Map<Selector, number[]>();
  readonly #withoutSelectors: readonly number[];
  readonly #expiries: readonly number[];

  /** @param entries with ids that differ, in any order */
  constructor(entries: Iterable<WrittenEntry>) {
    // By code units: an order by the machine's locale would change who is first, which clients take for the default.
    this.entries = Object.freeze([...entries].toSorted((a, b) => (a.id < b.id ? -1 : 1)));
    this.digest = digestOf(this.entries);
    this.#expiries = this.entries.flatMap(({ expiresAt }) => expiresAt ?? []).toSorted((a, b) => a - b);
    const counts = countSelectors(this.entries);
    const withoutSelectors: number[] = [];
    for (const [position, { selectors }] of this.entries.entries()) {
      const [first, ...others] = selectors;
      if (first === undefined) {
        withoutSelectors.push(position);
        continue;
      }
      const rarest = others.reduce((a, b) => ((counts.get(b) ?? 0) < (counts.get(a) ?? 0) ? b : a), first);
      const bucket = this.#bySelector.get(rarest);
      if (bucket === undefined) this.#bySelector.set(rarest, [position]);
      else bucket.push(position);
    }
    this.#withoutSelectors = withoutSelectors;
  }

  get(id: string): WrittenEntry | undefined {
    const found = this.entries[firstWhere(this.entries, (entry) => entry.id >= id)];
    return found?.id === id ? found : undefined;
  }

  match(selectors: ReadonlySet<Selector>, now: number): Match {
    const positions: number[] = this.#withoutSelectors.filter((at) => entitles(this.entries[at], selectors, now));
    for (const selector of selectors) {
      for (const position of this.#bySelector.get(selector) ?? []) {
        if (entitles(this.entries[position], selectors, now)) positions.push(position);
      }
    }
    const entries: Entry[] = [];
    const misfits: Misfit[] = [];
    const hints = new Set<string>();
    for (const position of positions.toSorted((a, b) => a - b)) {
      const found = concrete(this.entries[position], selectors);
      if (found === undefined) continue;
      if ('entryId' in found) misfits.push(found);
      else if (found.hint === '' || (!hints.has(found.hint) && hints.add(found.hint))) entries.push(found);
    }
    return { entries, misfits };
  }

  nextExpiry(now: number): number | undefined {
    return this.#expiries[firstWhere(this.#expiries, (expiry) => expiry > now)];
  }
}

/** The index of the first item of which something holds that holds of all behind it, too; the length when it holds of none. */
function firstWhere<T>(items: readonly T[], holds: (item: T) => boolean): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const item = items[middle];
    if (item !== undefined && !holds(item)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** What an entry that entitles these selectors is for them. */
function concrete(entry: WrittenEntry | undefined, own: ReadonlySet<Selector>): Entry | Misfit | undefined {
  return entry !== undefined && isTemplate(entry) ? entry.renderer.render(own) : entry;
}

function entitles(entry: WrittenEntry | undefined, own: ReadonlySet<Selector>, now: number): boolean {
  if (entry === undefined || (entry.expiresAt !== undefined && entry.expiresAt <= now)) return false;
  return entry.selectors.every((selector) => own.has(selector));
}

function countSelectors(entries: readonly WrittenEntry[]): ReadonlyMap<Selector, number> {
  const counts = new Map<Selector, number>();
  for (const { selectors } of entries) {
    for (const selector of selectors) counts.set(selector, (counts.get(selector) ?? 0) + 1);
  }
  return counts;
}

/** Over what an entry means: where it was written does not count, nor does the order of what is a set. */
function digestOf(entries: readonly WrittenEntry[]): string {
  const hash = createHash('sha256');
  for (const entry of entries) {
    const { dnsNames, spiffeId } = identityOf(entry);
    const canonical = [
      entry.id,
      spiffeId,
      [...entry.selectors].toSorted(),
      entry.owner ?? null,
      entry.x509SvidTtl ?? null,
      entry.jwtSvidTtl ?? null,
      entry.witSvidTtl ?? null,
      dnsNames,
      entry.hint,
      entry.federatesWith.toSorted(),
      entry.audiences?.toSorted() ?? null,
      entry.expiresAt ?? null,
    ];
    hash.update(`${JSON.stringify(canonical)}\n`);
  }
  return hash.digest('hex');
}
