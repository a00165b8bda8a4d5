import type { RevocationReason } from '../svid/crl.ts';
import type { InstanceRecord, LedgerEvent, UseEvent } from './event.ts';
import type { Stream } from './segments.ts';

/** A place in a chain: a record's number and its hash. */
export interface Head {
  readonly seq: number;
  /** SHA-256, hexadecimal. */
  readonly hash: string;
}

/** `SEQ:HASH`, as an auditor writes it down. */
export function headText({ hash, seq }: Head): string {
  return `${seq}:${hash}`;
}

/** What every record has beside its event. */
export interface RecordFields {
  /** From 1, without gaps. */
  readonly seq: number;
  /** When it happened, which may be a little before it was written. */
  readonly time: string;
  readonly boot_id: string;
  /** The hash of the record before; of the very first one 64 zeros. */
  readonly prev: string;
  /** SHA-256 over the canonical record (RFC 8785) without this field. */
  readonly _hash: string;
}

/** An Ed25519 public key (RFC 8037 §2). */
export interface LedgerJwk {
  readonly kty: 'OKP';
  readonly crv: 'Ed25519';
  readonly x: string;
}

/** What a record has that the ledger's own key vouches for. */
export interface SignedFields {
  /** The thumbprint (RFC 7638) of `jwk`. */
  readonly key: string;
  readonly jwk: LedgerJwk;
  /** Ed25519 over the canonical record without `signature` and `_hash`, base64url. */
  readonly signature: string;
}

/** A JWT-SVID or a WIT-SVID in a checkpoint. */
export interface TokenJson {
  readonly jti: string;
  readonly expires_at: string;
  readonly decision: string;
}

/** A lease in a checkpoint. */
export interface LeaseJson {
  readonly id: string;
  readonly decision: string;
  readonly opened_at: string;
  readonly boot_id: string;
  readonly instance: InstanceRecord;
  readonly selectors: readonly string[];
  readonly entry: string;
  readonly owner?: string;
  readonly spiffe_id: string;
  readonly certificates: readonly {
    readonly serial: string;
    readonly issuer: string;
    readonly issued_at: string;
    readonly expires_at: string;
    readonly decision: string;
  }[];
  readonly tokens: readonly TokenJson[];
  /** Absent where there are none. */
  readonly wits?: readonly TokenJson[];
}

/** The state in a checkpoint: what is still of account at its time. */
export interface StateJson {
  readonly leases: readonly LeaseJson[];
  readonly revoked_certificates: readonly {
    readonly serial: string;
    readonly issuer: string;
    readonly expires_at: string;
    readonly revoked_at: string;
    readonly reason: RevocationReason;
  }[];
  readonly revoked_tokens: readonly {
    readonly jti: string;
    readonly expires_at: string;
    readonly reason: RevocationReason;
    readonly decision?: string;
  }[];
  readonly barred: readonly { readonly process: string; readonly entries: Readonly<Record<string, string>> }[];
  readonly crl_numbers_reserved: number;
}

/** All that the records before it come to, so that a start needs none of them. The first record of each file of decisions is one. */
export interface Checkpoint extends SignedFields {
  readonly type: 'checkpoint';
  readonly state: StateJson;
}

/** The first record of each file of uses: it vouches for the chain before it when that is no longer kept. */
export interface SegmentAnchor extends SignedFields {
  readonly type: 'segment';
}

export type IssuanceRecord = RecordFields & (LedgerEvent | Checkpoint);
export type UseRecord = RecordFields & (UseEvent | SegmentAnchor);

/** The records of a stream. */
export interface RecordOf {
  readonly issuance: IssuanceRecord;
  readonly use: UseRecord;
}

export type AnyRecord = RecordOf[Stream];
