import type { Selector } from '../kernel/selector.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Context } from './context.ts';
import { NO_CONTEXT } from './context.ts';

/** What an attestor says of a process. */
export interface Found {
  readonly selectors: readonly Selector[];
  /** Where the process lives, as far as this attestor knows. */
  readonly context: Context;
}

/** "Not mine, or nothing that I may read." */
export const NOTHING: Found = Object.freeze({ selectors: Object.freeze([]), context: NO_CONTEXT });

/**
 * Says what a process is, in selectors of its own type, and where it lives.
 *
 * Error contract: {@link NOTHING} means "not mine, or nothing that I may read". Throws (any error) when the caller is this attestor's and it
 * cannot tell: the caller then gets UNAVAILABLE, others are served. It never guesses. It stops when `signal` aborts.
 * The runner asks afterwards whether the process still lives: an attestor may read `/proc/<pid>` without asking itself.
 */
export interface Attestor {
  /** What `status` calls it; nearly always the type in front of each of its selectors too: `unix`. */
  readonly name: string;
  attest(instance: ProcessInstance, signal: AbortSignal): Promise<Found>;
  /** What it could not read, for `status`: one sentence each, none twice; empty when all is well. */
  shortcomings(): readonly string[];
  close(): Promise<void>;
}

/** An instance and what was found true of it, while it lived. */
export interface Attested {
  readonly instance: ProcessInstance;
  readonly selectors: ReadonlySet<Selector>;
  readonly context: Context;
}
