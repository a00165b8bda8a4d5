import type { TrustDomain } from '../kernel/spiffe-id.ts';
import type { PublicJwk } from './jwk.ts';

/** A public key that signs JWT-SVIDs. */
export interface JwtAuthority {
  readonly kid: string;
  /** With the `kid` again, and `alg` where the source names one; without `use`, whose values SPIFFE has redefined. */
  readonly jwk: PublicJwk & { readonly kid: string; readonly alg?: string };
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
