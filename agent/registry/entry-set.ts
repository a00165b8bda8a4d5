import type { Selector } from '../kernel/selector.ts';
import type { Entry } from './entry.ts';

/** All entries at one moment, indexed. Immutable: a reload makes another. */
export interface EntrySet {
  /** All entries, by id. */
  readonly entries: readonly Entry[];
  /** SHA-256 over the canonical form of all entries, hex. */
  readonly digest: string;
  /**
   * The entries that `selectors` entitle at `now` (an expired one is none), in order of their ids, of several with one hint
   * only the first ('' is no hint: such entries all stay).
   */
  match(selectors: ReadonlySet<Selector>, now: number): readonly Entry[];
  /** When the next entry expires after `now`; `undefined` when none will. */
  nextExpiry(now: number): number | undefined;
}
