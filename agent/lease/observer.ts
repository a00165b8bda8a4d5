import type { ErrorCode } from '../kernel/errors.ts';
import type { SvidKind } from '../ledger/event.ts';
import type { Occasion } from '../policy/grant.ts';
import type { FollowedKind } from './followers.ts';

/** What a decision is about. */
export interface Decided {
  /** The id of the entry; `undefined` where the process matched none. */
  readonly entry: string | undefined;
  readonly kind: SvidKind;
}

/** Told of what is issued in the turn in which it is, to count and to time it: it must be quick, and it must not throw. */
export interface LeaseObserver {
  /** @param ms from the question to the durable record */
  issued(decided: Decided, occasion: Occasion, ms: number): void;
  /** @param rule by which the policy refuses; `no_entry` for a process that no entry matches */
  refused(decided: Decided, rule: string): void;
  /** What was granted could not be signed or recorded, or its process ended meanwhile. */
  failed(decided: Decided, code: ErrorCode): void;
  /** @param ms for how long it had been due; of an SVID that is replaced before its time there is nothing to tell */
  renewed(kind: FollowedKind, ms: number): void;
}
