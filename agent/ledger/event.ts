import type { RevocationReason } from '../svid/crl.ts';

/**
 * What the issuance ledger tells of. Events are spelled as they stand in the file; what every record has beside them (`seq`, `time`,
 * `boot_id`, `prev`, `_hash`) is the journal's to add. Times are RFC 3339 in UTC with milliseconds, durations whole milliseconds.
 * A key or a token is never part of one.
 */

/** A process instance at the time of its first decision: enough for a later agent to tell whether it still is the same. */
export interface InstanceRecord {
  readonly pid: number;
  /** Clock ticks since boot. */
  readonly start_time: string;
  readonly uid: number;
  readonly gid: number;
  /** The kernel's number of the process, unique until the machine is started again (Linux 6.9). */
  readonly inode?: string;
  /** As the process' own mount namespace shows it; absent where the agent may not look. */
  readonly executable?: string;
  readonly cgroup?: string;
  /** By kind: `{ "mnt": "4026531841" }`. */
  readonly namespaces?: Readonly<Record<string, string>>;
  /** A digest of where its memory lies, which `execve` draws anew; absent where the agent may not look. */
  readonly layout?: string;
  /** The container that it lives in; `started` is the engine's time of this run of it, where the engine was asked. */
  readonly container?: { readonly engine: string; readonly id: string; readonly started?: string };
  /** The pod of Kubernetes that it lives in. */
  readonly pod?: { readonly namespace: string; readonly name: string; readonly uid: string };
  /** The unit of systemd that it runs in; `invocation` is drawn at each start of the unit. */
  readonly unit?: { readonly id: string; readonly invocation: string };
}

export type SvidKind = 'x509' | 'jwt' | 'wit';

/** Who asked for what. */
interface Asked {
  /** Joins everything that one decision led to. */
  readonly decision: string;
  /** The decision before it: of a renewal the issuance that it renews. */
  readonly parent?: string;
  readonly kind: SvidKind;
  readonly occasion: 'first' | 'renewal' | 'on-demand';
  readonly instance: InstanceRecord;
  readonly selectors: readonly string[];
  /** How many more were attested, where they were too long to be kept. */
  readonly selectors_left_out?: number;
  readonly entry: string;
  readonly owner?: string;
  readonly spiffe_id: string;
  readonly audiences?: readonly string[];
  /** What the entry or the configuration would have given, in milliseconds. */
  readonly lifetime_asked: number;
}

/** An SVID was signed. */
export interface SvidIssued extends Asked {
  readonly type: 'svid.issued' | 'svid.renewed';
  readonly lease: string;
  /** Of a certificate: hexadecimal, as OpenSSL prints it in lower case. */
  readonly serial?: string;
  /** Of a certificate: the key identifier of the CA that signed it. */
  readonly issuer?: string;
  /** Of a JWT-SVID or a WIT-SVID. */
  readonly jti?: string;
  readonly lifetime_given: number;
  readonly expires_at: string;
  /** What bounded the lifetime. */
  readonly rule: string;
}

/** An SVID was refused. */
export interface SvidRefused extends Asked {
  readonly type: 'svid.refused';
  readonly lease: string;
  readonly rule: string;
  /** A sentence. */
  readonly reason: string;
  /**
   * How often the same was refused to the same process since the record before: it takes one for each ten seconds. Of a user of whom
   * dozens of processes are refused, to him.
   */
  readonly repeated?: number;
}

/** A process asked for an identity, and no entry entitles it to one. */
export interface CallerRefused {
  readonly type: 'caller.refused';
  readonly decision: string;
  readonly kind: SvidKind;
  readonly instance: InstanceRecord;
  readonly selectors: readonly string[];
  /** How many more were attested, where they were too long to be kept. */
  readonly selectors_left_out?: number;
  /** A sentence. */
  readonly reason: string;
  /** As of {@link SvidRefused}. */
  readonly repeated?: number;
}

/** A decision not to issue anything. */
export type Refusal = SvidRefused | CallerRefused;

/** Why a lease ended: the process, what it lived in, the registry, the policy, an operator, or what a new start found. */
export type LeaseEndReason =
  | 'exited'
  | 'executed'
  | 'changed-ids'
  | 'changed-cgroup'
  | 'changed-namespace'
  | 'container-ended'
  | 'pod-ended'
  | 'pod-replaced'
  | 'unit-ended'
  | 'entry-removed'
  | 'entry-changed'
  | 'selectors-changed'
  | 'refused'
  | 'revoked'
  | 'expired'
  | 'gone'
  | 'replaced'
  | 'rebooted'
  | 'unverifiable';

/** A lease is over: nothing more is issued under it. */
export interface LeaseEnded {
  readonly type: 'lease.ended';
  readonly lease: string;
  /** The decision that opened the lease. */
  readonly parent: string;
  readonly instance: InstanceRecord;
  readonly entry: string;
  readonly owner?: string;
  readonly spiffe_id: string;
  readonly reason: LeaseEndReason;
  /** A sentence, where the reason alone does not say enough. */
  readonly detail?: string;
}

/** Unexpired certificates and tokens of one lease were revoked. */
export interface SvidRevoked {
  readonly type: 'svid.revoked';
  readonly lease: string;
  /** The decision that opened the lease. */
  readonly parent: string;
  readonly entry: string;
  readonly spiffe_id: string;
  readonly reason: RevocationReason;
  /** What led to it: the lease's end, or the operator's own words. */
  readonly cause: string;
  readonly certificates: readonly { readonly serial: string; readonly issuer: string; readonly expires_at: string }[];
  /** JWT-SVIDs, and WIT-SVIDs, which say so. */
  readonly tokens: readonly { readonly jti: string; readonly expires_at: string; readonly kind?: 'wit' }[];
}

/** A living process was taken over from an agent before. */
export interface LeaseAdopted {
  readonly type: 'lease.adopted';
  readonly lease: string;
  readonly parent: string;
  readonly instance: InstanceRecord;
  readonly entry: string;
  readonly spiffe_id: string;
}

/** A process is not given an identity of an entry again, or is once more. Process and boot tell which process is meant. */
export interface ReissueBarred {
  readonly type: 'reissue.barred' | 'reissue.allowed';
  readonly pid: number;
  readonly start_time: string;
  readonly entry: string;
  readonly spiffe_id: string;
  /** The operator's words. */
  readonly reason: string;
}

/** CRL numbers up to this one may have been used: a start goes on above it, so that no number is ever used twice. */
export interface CrlNumbersReserved {
  readonly type: 'crl.reserved';
  readonly up_to: number;
}

/** Entries or policy are others from here on. */
export interface SourceChanged {
  readonly type: 'entries.changed' | 'policy.changed';
  /** SHA-256, hexadecimal. */
  readonly digest: string;
  /** Of entries. */
  readonly count?: number;
}

export interface AgentStarted {
  readonly type: 'agent.started';
  readonly version: string;
  readonly pid: number;
  readonly trust_domain: string;
  /** How callers are proven. */
  readonly proof: string;
  readonly entries: string;
  readonly policy: string;
}

export interface AgentStopped {
  readonly type: 'agent.stopped';
}

/** The agent before this one did not stop in order. */
export interface AgentCrashed {
  readonly type: 'agent.crashed';
  /** Of the last record that it left. */
  readonly last_seq: number;
  readonly last_time: string;
}

/** What stood behind the last whole record was cut off: it was never durable, and nothing that hung on it was delivered. */
export interface LedgerRepaired {
  readonly type: 'ledger.repaired';
  readonly segment: string;
  readonly removed_bytes: number;
}

/** The ledger can be written again, after it could not for a while. */
export interface LedgerRecovered {
  readonly type: 'ledger.recovered';
  /** Since when nothing was issued, RFC 3339. */
  readonly since: string;
  /** Refusals since then that were not recorded. */
  readonly refusals_lost: number;
}

/** Everything that the issuance ledger tells, its own checkpoints aside. */
export type LedgerEvent =
  | SvidIssued
  | SvidRefused
  | CallerRefused
  | LeaseEnded
  | SvidRevoked
  | LeaseAdopted
  | ReissueBarred
  | CrlNumbersReserved
  | SourceChanged
  | AgentStarted
  | AgentStopped
  | AgentCrashed
  | LedgerRepaired
  | LedgerRecovered;

/** How something that was issued is used, in a stream of its own. */
export interface SvidValidated {
  readonly type: 'svid.validated' | 'svid.rejected';
  readonly kind: 'jwt' | 'wit';
  /** Of the validated token, where this agent issued it. */
  readonly decision?: string;
  readonly jti?: string;
  readonly spiffe_id?: string;
  /** Of a JWT-SVID. */
  readonly audience?: string;
  /** Who asked. */
  readonly caller: { readonly pid: number; readonly start_time: string; readonly uid: number };
  /** Why it was rejected: a sentence. */
  readonly reason?: string;
}

export type UseEvent = SvidValidated;
