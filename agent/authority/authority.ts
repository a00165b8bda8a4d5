import type { Latest } from '../kernel/latest.ts';
import type { JwtGrant, X509Grant } from '../policy/grant.ts';
import type { TrustBundle } from '../svid/trust-bundle.ts';

/** A signed certificate with what a verifier needs between it and a root. Times in milliseconds since the epoch. */
export interface IssuedX509 {
  /** DER, the leaf first, then intermediates; never the root. */
  readonly chain: readonly [Buffer, ...Buffer[]];
  /** Lower-case hex without leading zeros, as OpenSSL prints it in lower case. */
  readonly serial: string;
  readonly notBefore: number;
  readonly notAfter: number;
}

/** A signed token. Times in milliseconds since the epoch. */
export interface IssuedJwt {
  readonly token: string;
  readonly jti: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** One key of an authority, for `status`. */
export interface AuthorityKeyStatus {
  readonly use: 'root' | 'issuing-ca' | 'jwt';
  /** Subject key id (hex) or `kid`. */
  readonly id: string;
  readonly state: 'prepared' | 'active' | 'retired';
  readonly notAfter: number;
}

/**
 * Who signs. What it is given is a grant, and it signs what the grant says, never longer.
 *
 * Error contract: throws MayflyError `AUTHORITY_UNAVAILABLE` when it cannot sign now and a later try may work; anything else is a
 * defect. It never answers with something other than what was granted.
 */
export interface Authority {
  /** The own trust domain's bundle. A successor key is in it before it signs, a predecessor until its last SVID has expired. */
  readonly bundle: Latest<TrustBundle>;
  /** Until when what it signs now could be valid. */
  signerExpiresAt(kind: 'x509' | 'jwt'): number;
  /** @param publicKey SubjectPublicKeyInfo in DER, of the key that the subject alone holds */
  issueX509(grant: X509Grant, publicKey: Buffer): Promise<IssuedX509>;
  issueJwt(grant: JwtGrant): Promise<IssuedJwt>;
  status(): { readonly type: string; readonly keys: readonly AuthorityKeyStatus[] };
  close(): Promise<void>;
}
