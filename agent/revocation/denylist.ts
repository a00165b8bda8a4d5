import type { Clock } from '../kernel/clock.ts';
import type { RevokedToken } from '../ledger/state.ts';
import type { RevocationReason } from '../svid/crl.ts';

interface Denied {
  readonly reason: RevocationReason;
  /** By the wall clock. */
  readonly expiresAt: number;
  /** By the monotonic clock: one that jumps ahead and is set back must not give back what was revoked. */
  readonly expiresMonotonic: number;
}

// Verifiers take a token for a minute longer, and their clocks differ.
const KEPT_AFTER_MS = 120_000;

/** JWT-SVIDs and WIT-SVIDs that are revoked, for as long as anybody may take them. The ledger forgets by the wall clock alone. */
export class Denylist {
  readonly #clock: Clock;
  readonly #byId = new Map<string, Denied>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many there are. */
  get size(): number {
    return this.#byId.size;
  }

  /** One that is there already stays as it was put there first. */
  add({ expiresAt, jti, reason }: RevokedToken): void {
    if (this.#byId.has(jti)) return;
    const expiresMonotonic = this.#clock.monotonic() + (expiresAt - this.#clock.now());
    this.#byId.set(jti, { reason, expiresAt, expiresMonotonic });
  }

  /** Why a token was revoked, or `undefined` when it was not. */
  reasonOf(jti: string): RevocationReason | undefined {
    return this.#byId.get(jti)?.reason;
  }

  /** Takes off what nobody takes any longer. */
  drop(): void {
    const now = this.#clock.now() - KEPT_AFTER_MS;
    const monotonic = this.#clock.monotonic() - KEPT_AFTER_MS;
    for (const [jti, { expiresAt, expiresMonotonic }] of this.#byId) {
      if (now > expiresAt && monotonic > expiresMonotonic) this.#byId.delete(jti);
    }
  }
}
