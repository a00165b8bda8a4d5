import type { TrustDomain } from '../kernel/spiffe-id.ts';

/** A public key that signs JWT-SVIDs, as a JWK with `kid`, `alg` and without private members. */
export interface JwtAuthority {
  readonly kid: string;
  readonly jwk: Readonly<Record<string, unknown>>;
  /** After this no token of it is valid any more; milliseconds since the epoch; `undefined` when the source does not say. */
  readonly expiresAt: number | undefined;
}

/** What a verifier needs to know of one trust domain (SPIFFE Trust Domain and Bundle §4). Immutable. */
export interface TrustBundle {
  readonly trustDomain: TrustDomain;
  /** Root certificates in DER, oldest first. */
  readonly x509Authorities: readonly Buffer[];
  readonly jwtAuthorities: readonly JwtAuthority[];
  /** `spiffe_sequence`: grows with each change. */
  readonly sequence: number;
  /** `spiffe_refresh_hint`, in seconds. */
  readonly refreshHint: number;
}
