import type { SvidKind } from '../ledger/event.ts';
import type { RevocationReason } from '../svid/crl.ts';

/** Told of what is revoked in the turn in which it is, to count and to time it: it must be quick, and it must not throw. */
export interface RevocationObserver {
  /** @param counts how many of each kind */
  revoked(counts: Readonly<Record<SvidKind, number>>, reason: RevocationReason): void;
  /** Followers of bundles were told of lists. @param ms for how long the first of what is new in them had waited */
  published(ms: number): void;
}
