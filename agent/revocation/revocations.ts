import type { Clock } from '../kernel/clock.ts';
import type { LeaseEndReason, SvidRevoked } from '../ledger/event.ts';
import type { IssuanceLedger } from '../ledger/issuance-ledger.ts';
import type { LiveLease, OutstandingCertificate, OutstandingToken } from '../ledger/state.ts';
import { tokenOf } from '../ledger/state.ts';
import type { RevocationReason } from '../svid/crl.ts';
import type { Denylist } from './denylist.ts';
import type { Lifetimes, Listing } from './lifetimes.ts';
import type { RevocationLists } from './lists.ts';
import type { RevocationObserver } from './observer.ts';

/** What was revoked with a lease: serials of certificates, and ids of JWT-SVIDs and WIT-SVIDs, that had not expired. */
export interface EndedLease {
  readonly serials: readonly string[];
  readonly jtis: readonly string[];
}

/** How a lease ended, as far as its reason does not say. */
export interface EndOptions {
  /** What led to the revocation, where that is more than the lease's end: the operator's own words. */
  readonly cause?: string | undefined;
  /** A sentence beside the reason. */
  readonly detail?: string | undefined;
  /** What verifiers are told, where an operator says it. */
  readonly code?: RevocationReason | undefined;
}

/** What revocations need. */
export interface RevocationsParts {
  readonly ledger: Pick<IssuanceLedger, 'state' | 'note'>;
  readonly lists: RevocationLists;
  readonly denylist: Denylist;
  readonly lifetimes: Lifetimes;
  readonly clock: Clock;
  /** Told after each change of the lists. */
  readonly revoked: () => void;
  readonly observer?: RevocationObserver | undefined;
}

interface What {
  readonly reason: RevocationReason;
  readonly cause: string;
  readonly certificates: readonly OutstandingCertificate[];
  readonly tokens: readonly OutstandingToken[];
}

const NOTHING: EndedLease = { serials: [], jtis: [] };

// A process may have fetched tokens by the thousand: no record gets too long for those who read them by the line.
const TOKENS_A_RECORD = 1000;

/**
 * Takes back what was issued, at once and in memory: certificates on the lists, tokens on the denylist. The record follows, and waits
 * for nobody; what followers are told is the publisher's to pace.
 */
export class Revocations {
  readonly #parts: RevocationsParts;

  constructor(parts: RevocationsParts) {
    this.#parts = parts;
    const { revokedCertificates, revokedTokens } = parts.ledger.state;
    for (const certificate of revokedCertificates.values()) parts.lists.add(certificate);
    for (const token of revokedTokens.values()) parts.denylist.add(token);
  }

  /**
   * Ends a lease in the ledger, and revokes all that was issued under it and has not expired. One that the ledger does not know, since
   * nothing was ever issued under it or it has ended, is no concern of this.
   */
  end({ id }: { readonly id: string }, reason: LeaseEndReason, options: EndOptions = {}): EndedLease {
    const { ledger } = this.#parts;
    const lease = ledger.state.leases.get(id);
    if (lease === undefined) return NOTHING;
    const certificates = this.#outstanding(lease);
    const tokens = [...this.#unexpired(lease.tokens), ...this.#unexpired(lease.wits)];
    const { cause = reason, code = codeOf(reason), detail } = options;
    // Before the end: a crash that keeps the second record from the disk leaves a lease that the next start ends once more, and not
    // one that is over with everything issued under it still good.
    this.#revoke(lease, { reason: code, cause, certificates, tokens }, isDeath(reason) ? 'died' : 'withdrawn');
    ledger.note({
      type: 'lease.ended',
      lease: id,
      parent: lease.decision,
      instance: lease.instance,
      entry: lease.entry,
      ...(lease.owner !== undefined && { owner: lease.owner }),
      spiffe_id: lease.spiffeId,
      reason,
      ...(detail !== undefined && { detail }),
    });
    return { serials: certificates.map(({ serial }) => serial), jtis: tokens.map(({ jti }) => jti) };
  }

  /** Revokes certificates or WIT-SVIDs whose successor is in use, while their lease goes on. */
  supersede(leaseId: string, by: 'serial' | 'jti', ids: readonly string[]): void {
    const lease = this.#parts.ledger.state.leases.get(leaseId);
    if (lease === undefined) return;
    const certificates = by === 'serial' ? this.#outstanding(lease).filter(({ serial }) => ids.includes(serial)) : [];
    const tokens = by === 'jti' ? this.#unexpired(lease.wits).filter(({ jti }) => ids.includes(jti)) : [];
    const cause = `superseded by a newer ${by === 'serial' ? 'certificate' : 'WIT-SVID'}`;
    this.#revoke(lease, { reason: 'superseded', cause, certificates, tokens }, 'withdrawn');
  }

  /** Revokes one token, while its lease goes on; nothing when no living lease has it. */
  revokeToken(jti: string, { cause, code }: { readonly cause: string; readonly code: RevocationReason }): void {
    const lease = this.#parts.ledger.state.leases.values().find((each) => tokenOf(each, jti) !== undefined);
    const token = lease === undefined ? undefined : tokenOf(lease, jti);
    if (lease === undefined || token === undefined) return;
    this.#revoke(lease, { reason: code, cause, certificates: [], tokens: [token] }, 'withdrawn');
  }

  #outstanding({ certificates }: LiveLease): readonly OutstandingCertificate[] {
    const revoked = this.#parts.ledger.state.revokedCertificates;
    return this.#unexpired(certificates).filter(({ serial }) => !revoked.has(serial));
  }

  #unexpired<T extends { readonly expiresAt: number }>(issued: ReadonlyMap<string, T>): readonly T[] {
    const now = this.#parts.clock.now();
    return [...issued.values()].filter(({ expiresAt }) => now < expiresAt);
  }

  #revoke(lease: LiveLease, { cause, certificates, reason, tokens }: What, how: Listing): void {
    if (certificates.length + tokens.length === 0) return;
    const { clock, denylist, ledger, lists, lifetimes, observer, revoked } = this.#parts;
    const now = clock.now();
    const subject = { entryId: lease.entry, spiffeId: lease.spiffeId };
    for (const { expiresAt, issuedAt, issuer, serial } of certificates) {
      const age = Math.max(0, issuedAt - lease.openedAt);
      lists.add({ serial, issuer, expiresAt, revokedAt: now, reason }, lifetimes.listed(subject, age, how));
    }
    for (const { expiresAt, jti } of tokens) denylist.add({ jti, expiresAt, reason });
    // Before it is recorded: then they are not the lease's any more.
    const wit = tokens.filter(({ jti }) => lease.wits.has(jti)).length;
    observer?.revoked({ x509: certificates.length, jwt: tokens.length - wit, wit }, reason);
    const common = {
      type: 'svid.revoked' as const,
      lease: lease.id,
      parent: lease.decision,
      entry: lease.entry,
      spiffe_id: lease.spiffeId,
      reason,
      cause,
    };
    for (let at = 0; at === 0 || at < tokens.length; at += TOKENS_A_RECORD) {
      ledger.note({
        ...common,
        certificates: at === 0 ? certificates.map(certificateRecord) : [],
        tokens: tokens.slice(at, at + TOKENS_A_RECORD).map((token) => tokenRecord(token, lease)),
      });
    }
    if (certificates.length > 0) revoked();
  }
}

/** RFC 5280 §5.3.1: what verifiers are told of why. */
function codeOf(reason: LeaseEndReason): RevocationReason {
  switch (reason) {
    case 'exited':
    case 'executed':
    case 'changed-ids':
    case 'changed-cgroup':
    case 'changed-namespace':
    case 'container-ended':
    case 'pod-ended':
    case 'pod-replaced':
    case 'unit-ended':
    case 'expired':
    case 'gone':
    case 'replaced':
    case 'rebooted':
      return 'cessationOfOperation';
    case 'entry-removed':
    case 'entry-changed':
    case 'selectors-changed':
    case 'refused':
    case 'unverifiable':
      return 'privilegeWithdrawn';
    // By hand, and without a word about why: the worst that it may be.
    case 'revoked':
      return 'keyCompromise';
  }
}

/** Whether the process itself, or what it lived in, was over just now, so that others like it may be expected to do the same. */
function isDeath(reason: LeaseEndReason): boolean {
  switch (reason) {
    case 'exited':
    case 'executed':
    case 'changed-ids':
    case 'changed-cgroup':
    case 'changed-namespace':
    case 'container-ended':
    case 'pod-ended':
    case 'pod-replaced':
    case 'unit-ended':
      return true;
    case 'entry-removed':
    case 'entry-changed':
    case 'selectors-changed':
    case 'refused':
    case 'revoked':
    case 'expired':
    case 'gone':
    case 'replaced':
    case 'rebooted':
    case 'unverifiable':
      return false;
  }
}

function certificateRecord({ expiresAt, issuer, serial }: OutstandingCertificate): SvidRevoked['certificates'][number] {
  return { serial, issuer, expires_at: new Date(expiresAt).toISOString() };
}

function tokenRecord({ expiresAt, jti }: OutstandingToken, { wits }: LiveLease): SvidRevoked['tokens'][number] {
  return { jti, expires_at: new Date(expiresAt).toISOString(), ...(wits.has(jti) && { kind: 'wit' }) };
}
