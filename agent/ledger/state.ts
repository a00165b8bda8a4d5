import type { RevocationReason } from '../svid/crl.ts';
import type { InstanceRecord } from './event.ts';

/** A certificate that may still be valid. Times in milliseconds since the epoch. */
export interface OutstandingCertificate {
  readonly serial: string;
  readonly issuer: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly decision: string;
}

/** A JWT-SVID or a WIT-SVID that may still be valid. */
export interface OutstandingToken {
  readonly jti: string;
  readonly expiresAt: number;
  readonly decision: string;
}

/** A lease that has not ended, with what was issued under it and has not expired. */
export interface LiveLease {
  readonly id: string;
  /** The decision that opened it. */
  readonly decision: string;
  readonly openedAt: number;
  readonly bootId: string;
  readonly instance: InstanceRecord;
  readonly selectors: readonly string[];
  readonly entry: string;
  readonly owner: string | undefined;
  readonly spiffeId: string;
  readonly certificates: ReadonlyMap<string, OutstandingCertificate>;
  /** JWT-SVIDs. */
  readonly tokens: ReadonlyMap<string, OutstandingToken>;
  /** WIT-SVIDs. */
  readonly wits: ReadonlyMap<string, OutstandingToken>;
}

export interface RevokedCertificate {
  readonly serial: string;
  readonly issuer: string;
  readonly expiresAt: number;
  readonly revokedAt: number;
  readonly reason: RevocationReason;
}

export interface RevokedToken {
  readonly jti: string;
  readonly expiresAt: number;
  readonly reason: RevocationReason;
  /** Where it was known when the token was revoked. */
  readonly decision?: string;
}

/** What the ledger says is so: derived from its records alone, so that a start comes to the same as the agent that ran before. */
export interface LedgerState {
  readonly leases: ReadonlyMap<string, LiveLease>;
  /** By serial, until the certificate has expired. */
  readonly revokedCertificates: ReadonlyMap<string, RevokedCertificate>;
  /** JWT-SVIDs and WIT-SVIDs by `jti`, until they have expired. */
  readonly revokedTokens: ReadonlyMap<string, RevokedToken>;
  /** Entries that a process is not given again, with the SPIFFE ID that each meant, by {@link processKey}. */
  readonly barred: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** No CRL number up to this one may be used again. */
  readonly crlNumbersReserved: number;
  /** The decision that an unexpired token came of, as long as its lease lives or the token was revoked while it did. */
  decisionOf(jti: string): string | undefined;
}

/** What a living lease has under a `jti`: a JWT-SVID, or a WIT-SVID. */
export function tokenOf({ tokens, wits }: LiveLease, jti: string): OutstandingToken | undefined {
  return tokens.get(jti) ?? wits.get(jti);
}

/** What tells one process from every other that ever was on this machine. */
export function processKey(bootId: string, pid: number, startTime: string): string {
  return `${bootId}/${pid}/${startTime}`;
}
