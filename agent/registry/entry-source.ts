import type { ReloadState } from '../config/reloadable.ts';
import type { Latest } from '../kernel/latest.ts';
import type { EntrySet } from './entry-set.ts';

/**
 * Where entries come from.
 *
 * Error contract: a source that cannot tell the entries any more keeps the last good ones, all of them, and says so in
 * {@link state}. It never shows a part of them.
 */
export interface EntrySource {
  /** The entries in force; there is a value from the start. */
  readonly latest: Latest<EntrySet>;
  state(): ReloadState;
  /** What is allowed and probably not meant, about the entries in force: one sentence each. */
  warnings(): readonly string[];
  /** Looks again, now. Never throws; false when that failed. */
  reload(): Promise<boolean>;
  close(): Promise<void>;
}
