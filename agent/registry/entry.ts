import type { Audience } from '../kernel/audience.ts';
import type { Selector } from '../kernel/selector.ts';
import type { SpiffeId, TrustDomain } from '../kernel/spiffe-id.ts';

/** What every entry says beside the identity. Durations are in milliseconds, times in milliseconds since the epoch. */
export interface EntryTerms {
  /** Unique among all entries; their stable order is the order of their ids. */
  readonly id: string;
  /** All of them must be among a process' own. */
  readonly selectors: readonly Selector[];
  readonly owner: string | undefined;
  /** `undefined`: the configuration's default. */
  readonly x509SvidTtl: number | undefined;
  readonly jwtSvidTtl: number | undefined;
  readonly witSvidTtl: number | undefined;
  readonly hint: string;
  readonly federatesWith: readonly TrustDomain[];
  /** The audiences that tokens of this entry may be for; `undefined` allows every one. */
  readonly audiences: readonly Audience[] | undefined;
  readonly expiresAt: number | undefined;
  /** `file:line`, for messages. */
  readonly source: string;
}

/** One registration: who gets which identity. Frozen. */
export interface Entry extends EntryTerms {
  readonly selectors: readonly [Selector, ...Selector[]];
  readonly spiffeId: SpiffeId;
  readonly dnsNames: readonly string[];
}
