import type { Selector } from '../kernel/selector.ts';
import type { Entry } from './entry.ts';
import type { Misfit } from './renderer.ts';
import type { WrittenEntry } from './written-entry.ts';

/** What a process is entitled to. */
export interface Match {
  /** In order of their ids, of several with one hint only the first ('' is no hint: such entries all stay). */
  readonly entries: readonly Entry[];
  /** The templates that are meant for it, and of which it gets nothing all the same. */
  readonly misfits: readonly Misfit[];
}

/** All entries at one moment, indexed. Immutable: a reload makes another. */
export interface EntrySet {
  /** All entries as they are written, by id. */
  readonly entries: readonly WrittenEntry[];
  /** SHA-256 over the canonical form of all entries, hex. */
  readonly digest: string;
  /** The entry with an id. */
  get(id: string): WrittenEntry | undefined;
  /** The entries that `selectors` entitle at `now` (an expired one is none), templates with their values. */
  match(selectors: ReadonlySet<Selector>, now: number): Match;
  /** When the next entry expires after `now`; `undefined` when none will. */
  nextExpiry(now: number): number | undefined;
}
