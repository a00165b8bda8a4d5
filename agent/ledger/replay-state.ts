import type { LeaseAdopted, LeaseEnded, LedgerEvent, ReissueBarred, SvidIssued, SvidRevoked } from './event.ts';
import type {
  LedgerState,
  LiveLease,
  OutstandingCertificate,
  OutstandingToken,
  RevokedCertificate,
  RevokedToken,
} from './state.ts';
import { processKey } from './state.ts';

/** What a record says beside its event. */
export interface RecordedAt {
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly bootId: string;
}

/**
 * How long something is kept after it has expired: clocks differ, and verifiers take a token for a minute longer. A revocation that was
 * forgotten at the very moment of expiry would be taken back for them.
 */
const GRACE_MS = 120_000;

/** A lease as it is written to. */
export interface KeptLease extends LiveLease {
  readonly certificates: Map<string, OutstandingCertificate>;
  readonly tokens: Map<string, OutstandingToken>;
  readonly wits: Map<string, OutstandingToken>;
}

/**
 * The one place that says what an event does to the state, for the agent that makes it and for the one that reads it back. Nothing
 * counts but events and their times, so that both come to the same.
 *
 * What has expired, and two minutes more have passed, is of no account: it is forgotten sooner or later, and may be left out at any
 * time.
 */
export class ReplayState implements LedgerState {
  readonly leases = new Map<string, KeptLease>();
  readonly revokedCertificates = new Map<string, RevokedCertificate>();
  readonly revokedTokens = new Map<string, RevokedToken>();
  readonly barred = new Map<string, Map<string, string>>();
  readonly #outstandingTokens = new Map<string, OutstandingToken>();
  #crlNumbersReserved = 0;

  get crlNumbersReserved(): number {
    return this.#crlNumbersReserved;
  }

  decisionOf(jti: string): string | undefined {
    return this.#outstandingTokens.get(jti)?.decision ?? this.revokedTokens.get(jti)?.decision;
  }

  apply(event: LedgerEvent, at: RecordedAt): void {
    switch (event.type) {
      case 'svid.issued':
      case 'svid.renewed':
        return this.#issued(event, at);
      case 'lease.ended':
        return this.#ended(event);
      case 'lease.adopted':
        return this.#adopted(event);
      case 'svid.revoked':
        return this.#revoked(event, at);
      case 'reissue.barred':
      case 'reissue.allowed':
        return this.#barred(event, at);
      case 'crl.reserved':
        return this.reserveCrlNumbers(event.up_to);
      case 'agent.started':
        return this.#started(at);
      case 'svid.refused':
      case 'caller.refused':
      case 'entries.changed':
      case 'policy.changed':
      case 'agent.stopped':
      case 'agent.crashed':
      case 'ledger.repaired':
      case 'ledger.recovered':
        return;
    }
  }

  /** Takes back an issuance that could not be recorded. What follows it in the ledger could not be either, endings aside. */
  forgetIssued(event: SvidIssued): void {
    const lease = this.leases.get(event.lease);
    if (lease === undefined) return;
    if (event.serial !== undefined) lease.certificates.delete(event.serial);
    if (event.jti !== undefined) this.#dropToken(lease, event.jti);
    if (lease.decision === event.decision) this.#dropLease(lease);
  }

  /**
   * Forgets what was over at `time`, which is that of a record: a clock that jumped and was set back before anything was recorded
   * leaves no trace. Tokens behind others that live longer stay until {@link pruneTokens}.
   */
  prune(time: number): void {
    for (const lease of this.leases.values()) {
      dropOver(lease.certificates, time);
      this.#dropOldTokens(lease, time);
    }
    dropOver(this.revokedCertificates, time);
    dropOver(this.revokedTokens, time);
  }

  /** Looks at each token there is. */
  pruneTokens(time: number): void {
    for (const lease of this.leases.values()) {
      for (const token of [...lease.tokens.values(), ...lease.wits.values()]) {
        if (isOver(token, time)) this.#dropToken(lease, token.jti);
      }
    }
  }

  /** Puts a lease in as it was. */
  restore(lease: KeptLease): void {
    this.leases.set(lease.id, lease);
    for (const token of [...lease.tokens.values(), ...lease.wits.values()]) {
      this.#outstandingTokens.set(token.jti, token);
    }
  }

  reserveCrlNumbers(upTo: number): void {
    this.#crlNumbersReserved = Math.max(this.#crlNumbersReserved, upTo);
  }

  #issued(event: SvidIssued, { time, bootId }: RecordedAt): void {
    let lease = this.leases.get(event.lease);
    if (lease === undefined) {
      lease = opened(event, time, bootId);
      this.leases.set(lease.id, lease);
    }
    const { decision, issuer, jti, kind, serial } = event;
    const expiresAt = Date.parse(event.expires_at);
    if (serial !== undefined && issuer !== undefined) {
      dropOver(lease.certificates, time);
      const issuedAt = expiresAt - event.lifetime_given;
      lease.certificates.set(serial, { serial, issuer, issuedAt, expiresAt, decision });
    }
    if (jti !== undefined) {
      this.#dropOldTokens(lease, time);
      const token = { jti, expiresAt, decision };
      (kind === 'wit' ? lease.wits : lease.tokens).set(jti, token);
      this.#outstandingTokens.set(jti, token);
    }
  }

  #ended({ lease: id }: LeaseEnded): void {
    const lease = this.leases.get(id);
    if (lease !== undefined) this.#dropLease(lease);
  }

  #adopted({ instance, lease: id }: LeaseAdopted): void {
    const lease = this.leases.get(id);
    if (lease !== undefined) this.leases.set(id, { ...lease, instance });
  }

  /** A certificate or token is revoked with its lease, or alone while its lease lives on. */
  #revoked({ certificates, lease: id, reason, tokens }: SvidRevoked, { time }: RecordedAt): void {
    const lease = this.leases.get(id);
    for (const { expires_at, issuer, serial } of certificates) {
      const revoked = { serial, issuer, expiresAt: Date.parse(expires_at), revokedAt: time, reason };
      lease?.certificates.delete(serial);
      if (!isOver(revoked, time)) this.revokedCertificates.set(serial, revoked);
    }
    for (const { expires_at, jti } of tokens) {
      const decision = this.#outstandingTokens.get(jti)?.decision;
      const revoked = { jti, expiresAt: Date.parse(expires_at), reason, ...(decision !== undefined && { decision }) };
      if (lease !== undefined) this.#dropToken(lease, jti);
      if (!isOver(revoked, time)) this.revokedTokens.set(jti, revoked);
    }
  }

  #barred({ entry, pid, spiffe_id, start_time, type }: ReissueBarred, { bootId }: RecordedAt): void {
    const key = processKey(bootId, pid, start_time);
    const entries = this.barred.get(key) ?? new Map<string, string>();
    if (type === 'reissue.barred') this.barred.set(key, entries.set(entry, spiffe_id));
    else if (entries.delete(entry) && entries.size === 0) this.barred.delete(key);
  }

  /** No process outlives the machine's run, so that nobody is left for the bars of earlier ones. */
  #started({ bootId }: RecordedAt): void {
    for (const key of this.barred.keys()) if (!key.startsWith(`${bootId}/`)) this.barred.delete(key);
  }

  #dropLease(lease: KeptLease): void {
    for (const jti of [...lease.tokens.keys(), ...lease.wits.keys()]) this.#outstandingTokens.delete(jti);
    this.leases.delete(lease.id);
  }

  #dropToken(lease: KeptLease, jti: string): void {
    lease.tokens.delete(jti);
    lease.wits.delete(jti);
    this.#outstandingTokens.delete(jti);
  }

  /** Tokens come by the thousand and mostly expire in the order in which they came: looks no further than the first that is good. */
  #dropOldTokens(lease: KeptLease, time: number): void {
    for (const tokens of [lease.tokens, lease.wits]) {
      for (const token of tokens.values()) {
        if (!isOver(token, time)) break;
        this.#dropToken(lease, token.jti);
      }
    }
  }
}

function opened(event: SvidIssued, time: number, bootId: string): KeptLease {
  return {
    id: event.lease,
    decision: event.decision,
    openedAt: time,
    bootId,
    instance: event.instance,
    selectors: event.selectors,
    entry: event.entry,
    owner: event.owner,
    spiffeId: event.spiffe_id,
    certificates: new Map(),
    tokens: new Map(),
    wits: new Map(),
  };
}

/** Whether nobody takes it any longer. */
export function isOver({ expiresAt }: { readonly expiresAt: number }, time: number): boolean {
  return expiresAt + GRACE_MS <= time;
}

function dropOver(map: Map<string, { readonly expiresAt: number }>, time: number): void {
  for (const [key, value] of map) if (isOver(value, time)) map.delete(key);
}
