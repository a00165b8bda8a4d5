import type { Audience } from '../kernel/audience.ts';
import type { Selector } from '../kernel/selector.ts';
import type { SpiffeId, TrustDomain } from '../kernel/spiffe-id.ts';

/** One registration: who gets which identity. Frozen. Durations are in milliseconds, times in milliseconds since the epoch. */
export interface Entry {
  /** Unique among all entries; their stable order is the order of their ids. */
  readonly id: string;
  readonly spiffeId: SpiffeId;
  /** All of them must be among a process' own. */
  readonly selectors: readonly [Selector, ...Selector[]];
  readonly owner: string | undefined;
  /** `undefined`: the configuration's default. */
  readonly x509SvidTtl: number | undefined;
  readonly jwtSvidTtl: number | undefined;
  readonly witSvidTtl: number | undefined;
  readonly dnsNames: readonly string[];
  readonly hint: string;
  readonly federatesWith: readonly TrustDomain[];
  /** The audiences that tokens of this entry may be for; `undefined` allows every one. */
  readonly audiences: readonly Audience[] | undefined;
  readonly expiresAt: number | undefined;
  /** `file:line`, for messages. */
  readonly source: string;
}
