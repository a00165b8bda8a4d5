import type { Secret } from '../kernel/secret.ts';
import type { SpiffeId } from '../kernel/spiffe-id.ts';

/** A certificate and the key it was made for. The key is this lease's alone. Times in milliseconds since the epoch. */
export interface X509Svid {
  readonly decisionId: string;
  readonly spiffeId: SpiffeId;
  /** DER, leaf first, without the root. */
  readonly chain: readonly [Buffer, ...Buffer[]];
  /** PKCS#8 DER. */
  readonly privateKey: Secret;
  readonly serial: string;
  readonly notBefore: number;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** A WIT-SVID and the key that it confirms. The key is this lease's alone. Times in milliseconds since the epoch. */
export interface WitSvid {
  readonly decisionId: string;
  readonly spiffeId: SpiffeId;
  readonly token: string;
  /** A private JWK in UTF-8. */
  readonly privateKey: Secret;
  readonly jti: string;
  /** Its `iat`, a whole second: it says of no earlier time that it was valid. */
  readonly notBefore: number;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** A token. Times in milliseconds since the epoch. */
export interface JwtSvid {
  readonly decisionId: string;
  readonly spiffeId: SpiffeId;
  readonly token: string;
  readonly jti: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
}
