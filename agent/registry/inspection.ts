import type { Attested } from '../attest/attestor.ts';
import type { Clock } from '../kernel/clock.ts';
import { MayflyError } from '../kernel/errors.ts';
import type { Latest } from '../kernel/latest.ts';
import type { Selector } from '../kernel/selector.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Attesting } from './entitlement.ts';
import type { EntrySet, Match } from './entry-set.ts';
import { isTemplate, type WrittenEntry } from './written-entry.ts';

/** What a process is, and what comes of that. */
export interface Inspection extends Match {
  readonly attested: Attested;
  /** Why it does not get the entry that was asked about, such that "it …" reads well; empty where it does, or none was asked about. */
  readonly whyNot: readonly string[];
}

/** Looks at processes for people: as at a call, but nothing is refused, issued or recorded by it. */
export class Inspector {
  readonly #attesting: Attesting;
  readonly #entries: Latest<EntrySet>;
  readonly #clock: Clock;

  constructor(parts: { readonly attesting: Attesting; readonly entries: Latest<EntrySet>; readonly clock: Clock }) {
    this.#attesting = parts.attesting;
    this.#entries = parts.entries;
    this.#clock = parts.clock;
  }

  /**
   * @param entryId an entry that is asked about; `''` for none
   * @throws MayflyError `NOT_FOUND` where there is no such entry, and what attestation throws
   */
  async inspect(instance: ProcessInstance, entryId: string): Promise<Inspection> {
    const attested = await this.#attesting.attest(instance);
    const set = this.#entries.value;
    const now = this.#clock.now();
    const match = set?.match(attested.selectors, now) ?? { entries: [], misfits: [] };
    if (entryId === '') return { attested, ...match, whyNot: [] };
    const asked = set?.get(entryId);
    if (asked === undefined) {
      throw new MayflyError('NOT_FOUND', `there is no entry ${entryId}; mayfly entries shows what there is`);
    }
    return { attested, ...match, whyNot: whyNot(asked, attested.selectors, match, now) };
  }
}

function whyNot(asked: WrittenEntry, own: ReadonlySet<Selector>, { entries, misfits }: Match, now: number): string[] {
  if (entries.some(({ id }) => id === asked.id)) return [];
  const reasons = [
    ...(asked.expiresAt !== undefined && asked.expiresAt <= now
      ? [`comes after the entry has expired, at ${new Date(asked.expiresAt).toISOString()}`]
      : []),
    ...asked.selectors.filter((selector) => !own.has(selector)).map((selector) => `is not ${selector}`),
    ...valuesLacked(asked, own).map((placeholder) => `has no value for ${placeholder}`),
    ...misfits
      .filter(({ entryId }) => entryId === asked.id)
      .map(({ message }) => `has a value that is refused: ${message}`),
  ];
  if (reasons.length > 0) return reasons;
  const first = entries.find(({ hint }) => hint === asked.hint);
  return [`gets ${first?.id ?? 'another one'} instead, which comes first and has the same hint`];
}

function valuesLacked(asked: WrittenEntry, own: ReadonlySet<Selector>): readonly string[] {
  if (!isTemplate(asked)) return [];
  return asked.renderer.sources
    .filter(({ prefix }) => !own.values().some((selector) => selector.startsWith(prefix)))
    .map(({ placeholder }) => placeholder.text);
}
