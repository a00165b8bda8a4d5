import { context, enumerated, integer, octetString, oid, sequence, smallInteger, time } from './der.ts';
import { signedStructure } from './signing-key.ts';
import type { X509Issuer } from './x509.ts';
import { authorityKeyId, crlNumber } from './x509-extension.ts';

/** Why a certificate was revoked, as RFC 5280 §5.3.1 names and numbers it; those that fit a leaf, the likeliest first. */
const REASONS = {
  keyCompromise: 1,
  privilegeWithdrawn: 9,
  superseded: 4,
  cessationOfOperation: 5,
  affiliationChanged: 3,
} as const;

export type RevocationReason = keyof typeof REASONS;

/** All of them, in the order in which an operator is offered them. */
export const REVOCATION_REASONS = Object.keys(REASONS) as readonly RevocationReason[];

/** What a list says beside its entries. Times in milliseconds since the epoch, cut to the second. */
export interface CrlTerms {
  /** Grows with every list of one issuer (RFC 5280 §5.2.3). */
  readonly number: number;
  readonly thisUpdate: number;
  /** When a newer list will be out at the latest: past it, verifiers refuse everything the issuer has signed. */
  readonly nextUpdate: number;
  /** From {@link encodeRevoked}. None is a list too: the one that takes a revocation back. */
  readonly entries: readonly Buffer[];
}

const VERSION_2 = smallInteger(1);
const REASON_CODE = oid('2.5.29.21');

/**
 * One entry of a list: a certificate is encoded when it is revoked, and every list it stands in takes the bytes over.
 *
 * @param serial hexadecimal, as OpenSSL prints it
 * @param revokedAt milliseconds since the epoch
 * @param reason `undefined` leaves it out, as RFC 5280 §5.3.1 wants it for `unspecified`
 */
export function encodeRevoked(serial: string, revokedAt: number, reason: RevocationReason | undefined): Buffer {
  const number = integer(Buffer.from(serial.length % 2 === 0 ? serial : `0${serial}`, 'hex'));
  if (reason === undefined) return sequence(number, time(revokedAt));
  const code = sequence(REASON_CODE, octetString(enumerated(REASONS[reason])));
  return sequence(number, time(revokedAt), sequence(code));
}

/** Signs a version 2 CRL (RFC 5280 §5). Returns DER. */
export function signCrl(terms: CrlTerms, issuer: X509Issuer): Buffer {
  const toBeSigned = sequence(
    VERSION_2,
    issuer.key.algorithm.identifier,
    issuer.name,
    time(terms.thisUpdate),
    time(terms.nextUpdate),
    // RFC 5280 §5.1.2.6: absent, not empty, where nothing is revoked.
    ...(terms.entries.length === 0 ? [] : [sequence(Buffer.concat(terms.entries))]),
    context(0, sequence(authorityKeyId(issuer.keyId), crlNumber(terms.number))),
  );
  return signedStructure(toBeSigned, issuer.key);
}
