import type { TrustDomain } from '../kernel/spiffe-id.ts';
import type { PublicJwk } from './jwk.ts';

/** A public key that signs tokens of one kind, and of no other: which kind is said by where in a bundle it stands. */
export interface TokenAuthority {
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
  /** What signs JWT-SVIDs. */
  readonly jwtAuthorities: readonly TokenAuthority[];
  /** What signs WIT-SVIDs. No key is in both lists, and none has the `kid` of another (WIT-SVID §6.1). */
  readonly witAuthorities: readonly TokenAuthority[];
  /** `spiffe_sequence`: grows with each change. */
  readonly sequence: number;
  /** `spiffe_refresh_hint`, in seconds. */
  readonly refreshHint: number;
}

/** True of a bundle that vouches for nobody: all its keys were withdrawn, or none is of a kind that is known here. */
export function isEmptyBundle({ jwtAuthorities, witAuthorities, x509Authorities }: TrustBundle): boolean {
  return x509Authorities.length + jwtAuthorities.length + witAuthorities.length === 0;
}
