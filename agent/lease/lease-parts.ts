import type { Contexts } from '../attest/contexts.ts';
import type { Authority } from '../authority/authority.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Latest } from '../kernel/latest.ts';
import type { Log } from '../kernel/log.ts';
import type { TrustDomain } from '../kernel/spiffe-id.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Entitlement } from '../registry/entitlement.ts';
import type { EntrySet } from '../registry/entry-set.ts';
import type { Revocation } from '../revocation/revocation.ts';
import type { TrustBundle } from '../svid/trust-bundle.ts';
import type { Issuer } from './issuer.ts';
import type { LeaseObserver } from './observer.ts';

/** What the stage hangs on. */
export interface LeaseParts {
  readonly entitlement: Entitlement;
  readonly entries: Latest<EntrySet>;
  readonly authority: Authority;
  readonly federated: Latest<ReadonlyMap<TrustDomain, TrustBundle>>;
  readonly issuer: Issuer;
  readonly contexts: Contexts;
  readonly revocation: Revocation;
  /** Counts a caller's attestation in, returns how to count it out. @throws MayflyError `OVERLOADED` */
  readonly admit: (instance: ProcessInstance) => () => void;
  readonly clock: Clock;
  readonly log: Log;
  /** A number in [0, 1). */
  readonly random: () => number;
  readonly observer?: LeaseObserver | undefined;
}
