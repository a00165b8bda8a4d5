import type { Latest } from '../kernel/latest.ts';
import type { JwtGrant, WitGrant, X509Grant } from '../policy/grant.ts';
import type { CrlTerms } from '../svid/crl.ts';
import type { ConfirmationKey } from '../svid/jwk.ts';
import type { TrustBundle } from '../svid/trust-bundle.ts';

/** A signed certificate with what a verifier needs between it and a root. Times in milliseconds since the epoch. */
export interface IssuedX509 {
  /** DER, the leaf first, then intermediates; never the root. */
  readonly chain: readonly [Buffer, ...Buffer[]];
  /** Lower-case hex without leading zeros, as OpenSSL prints it in lower case. */
  readonly serial: string;
  /** The key identifier of the CA that signed it, hexadecimal: whose list it is revoked on. */
  readonly issuer: string;
  readonly notBefore: number;
  readonly notAfter: number;
}

/** A signed token: a JWT-SVID or a WIT-SVID. Times in milliseconds since the epoch. */
export interface IssuedToken {
  readonly token: string;
  readonly jti: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** A CA whose certificates verifiers look for on a list. Times in milliseconds since the epoch. */
export interface CrlIssuer {
  /** Its key identifier, hexadecimal. */
  readonly id: string;
  readonly use: 'root' | 'issuing-ca';
  readonly notBefore: number;
  readonly notAfter: number;
  /** When the last certificate that it has signed, or may yet sign, expires: no list of it may end before. */
  readonly signsUntil: number;
  /** Signs a list of it in DER. */
  sign(list: CrlTerms): Buffer;
}

/**
 * Which lists an authority can answer for. Where they do not cover every issuing CA of the trust domain, none may be given out: a
 * verifier with a list for one CA and none for another refuses the other's leaves.
 */
export type CrlCoverage =
  | { readonly complete: true; readonly issuers: readonly CrlIssuer[] }
  | { readonly complete: false; readonly reason: string };

/** One key of an authority, for `status`. */
export interface AuthorityKeyStatus {
  readonly use: 'root' | 'issuing-ca' | 'jwt' | 'wit';
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
  /** Whose lists verifiers need. A new CA is in it some seconds before it signs, so that its list is there before its leaves. */
  readonly crls: Latest<CrlCoverage>;
  /** Until when what it signs now could be valid. */
  signerExpiresAt(kind: 'x509' | 'jwt' | 'wit'): number;
  /** @param publicKey SubjectPublicKeyInfo in DER, of the key that the subject alone holds */
  issueX509(grant: X509Grant, publicKey: Buffer): Promise<IssuedX509>;
  issueJwt(grant: JwtGrant): Promise<IssuedToken>;
  /** @param confirmation of the key that the subject alone holds */
  issueWit(grant: WitGrant, confirmation: ConfirmationKey): Promise<IssuedToken>;
  status(): { readonly type: string; readonly keys: readonly AuthorityKeyStatus[] };
  close(): Promise<void>;
}
