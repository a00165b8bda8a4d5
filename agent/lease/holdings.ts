import type { Attested } from '../attest/attestor.ts';
import type { Audiences } from '../kernel/audience.ts';
import type { Alarm } from '../kernel/clock.ts';
import { isMayflyError, MayflyError, messageOf } from '../kernel/errors.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Entitled } from '../registry/entitlement.ts';
import type { Entry } from '../registry/entry.ts';
import type { EndedLease, EndOptions } from '../revocation/revocations.ts';
import type { Inheritance, LeaseEnd, LeaseFailure } from './lease.ts';
import { Lease } from './lease.ts';
import type { LeaseParts } from './lease-parts.ts';
import { retryDelay } from './rotation.ts';
import type { JwtSvid, X509Svid } from './svid.ts';
import type { Delivered } from './updates.ts';

const NEVER = Number.POSITIVE_INFINITY;

// A client that was just given the successor of a certificate has its connections and files to bring over.
const SUPERSEDE_AFTER_MS = 5000;

/** What these leases need of the stage's parts. */
export type HoldingsParts = Pick<LeaseParts, 'issuer' | 'entries' | 'revocation' | 'clock' | 'log' | 'random'>;

/** Told of each lease that has ended; says what was revoked with it. */
export type LeaseEnding = (lease: Lease, reason: LeaseEnd, how: EndOptions) => EndedLease;

/** The leases of one process instance: at most one for each entry, made when something is first issued under it. */
export class Holdings {
  readonly #instance: ProcessInstance;
  readonly #parts: HoldingsParts;
  readonly #ended: LeaseEnding;
  readonly #byEntry = new Map<string, Lease>();
  readonly #superseding = new Map<Alarm, Lease>();

  /** @param ended told of each lease that has ended */
  constructor(instance: ProcessInstance, parts: HoldingsParts, ended: LeaseEnding) {
    this.#instance = instance;
    this.#parts = parts;
    this.#ended = ended;
  }

  [Symbol.iterator](): Iterator<Lease> {
    return this.#byEntry.values();
  }

  get size(): number {
    return this.#byEntry.size;
  }

  /** Takes over what an agent before this one left of a lease. */
  adopt(entry: Entry, inherited: Inheritance): void {
    this.#byEntry.set(entry.id, new Lease(this.#instance, entry, this.#parts.clock.now(), inherited));
  }

  /** Ends the leases of entries that no longer entitle, or that now name another identity: that is another lease. */
  keepOnly(entries: readonly Entry[]): void {
    const byId = new Map(entries.map((entry) => [entry.id, entry]));
    for (const lease of this) {
      const entry = byId.get(lease.entry.id);
      if (entry?.spiffeId === lease.entry.spiffeId) lease.replaceEntry(entry);
      else this.#end(lease, this.#whyWithdrawn(lease.entry));
    }
  }

  /** Ends one lease, which has not ended. */
  endOne(lease: Lease, reason: LeaseEnd, how: EndOptions): EndedLease {
    return this.#end(lease, reason, how);
  }

  /** Issues the certificates that are due; each entry for itself, so that one that cannot be signed holds up no other. */
  async issueDue({ attested, entries }: Entitled): Promise<void> {
    const now = this.#parts.clock.now();
    const due: Lease[] = [];
    for (const lease of entries.map((entry) => this.#of(entry))) {
      if (!lease.needsCertificate(now)) lease.recover();
      else if (lease.mayTry(now)) due.push(lease);
    }
    await Promise.all(due.map((lease) => this.#issue(attested, lease)));
  }

  /** The certificates for `entries` that a verifier would accept now. */
  delivered(entries: readonly Entry[]): readonly Delivered<X509Svid>[] {
    const now = this.#parts.clock.now();
    const found: Delivered<X509Svid>[] = [];
    for (const entry of entries) {
      const svid = this.#byEntry.get(entry.id)?.usable(now);
      if (svid !== undefined) found.push({ svid, hint: entry.hint });
    }
    return found;
  }

  /** Notes that a client's connection took certificates. */
  taken(svids: readonly X509Svid[]): void {
    const now = this.#parts.clock.now();
    for (const lease of this) if (svids.some((svid) => svid === lease.x509)) lease.delivered(now);
  }

  /** The token that may be handed out again; none was issued under other terms than the entry's own. */
  cachedToken(entry: Entry, audiences: Audiences): JwtSvid | undefined {
    const lease = this.#byEntry.get(entry.id);
    return lease?.entry === entry ? lease.tokens.current(audiences, this.#parts.clock.now()) : undefined;
  }

  /** @throws MayflyError as the issuer does; `NO_IDENTITY` when the lease ended meanwhile */
  async token(attested: Attested, entry: Entry, audiences: Audiences): Promise<Delivered<JwtSvid>> {
    const lease = this.#of(entry);
    const { issuer } = this.#parts;
    const svid =
      this.cachedToken(entry, audiences) ??
      (await lease.tokens.issue(audiences, () => issuer.jwt(attested, lease, audiences)));
    if (!lease.ended) {
      lease.delivered(this.#parts.clock.now());
      return { svid, hint: entry.hint };
    }
    throw new MayflyError('NO_IDENTITY', `the lease for ${entry.spiffeId} ended while its token was being issued`);
  }

  /** Notes that nothing can be issued now, for whatever needs a certificate: what there is serves on meanwhile. */
  postpone(failure: LeaseFailure): void {
    const now = this.#parts.clock.now();
    for (const lease of this) if (lease.needsCertificate(now)) this.#failed(lease, failure);
  }

  /** Why the first of those that have no certificate has none. */
  failureOf(entries: readonly Entry[]): unknown {
    return entries.map((entry) => this.#byEntry.get(entry.id)?.failure).find((failure) => failure !== undefined)?.error;
  }

  /** When the next certificate is due, or is to be tried again; infinity when none is. */
  get nextDue(): number {
    return this.#next((lease) => lease.failure?.retryAt ?? (lease.x509 === undefined ? NEVER : lease.renewsAt));
  }

  /**
   * When the next lease is of no more use; infinity when none is.
   *
   * @param inUse a call is under way, for which a lease may be that nothing was issued under yet
   */
  nextExpiry(inUse: boolean): number {
    return this.#next((lease) => (lease.expiresAt === 0 && inUse ? NEVER : lease.expiresAt));
  }

  /** Ends the leases that are of no more use at `now`; see {@link nextExpiry}. */
  endExpired(now: number, inUse: boolean): void {
    for (const lease of this) {
      const unused = lease.expiresAt === 0 && inUse;
      if (now >= lease.expiresAt && !unused) this.#end(lease, 'expired');
    }
  }

  /** Ends all leases; keys are dropped. */
  end(reason: LeaseEnd): void {
    for (const lease of this) this.#end(lease, reason);
  }

  #next(time: (lease: Lease) => number): number {
    let next = NEVER;
    for (const lease of this) next = Math.min(next, time(lease));
    return next;
  }

  #of(entry: Entry): Lease {
    const known = this.#byEntry.get(entry.id);
    if (known !== undefined && known.entry.spiffeId === entry.spiffeId) {
      known.replaceEntry(entry);
      return known;
    }
    if (known !== undefined) this.#end(known, 'entry-changed');
    const lease = new Lease(this.#instance, entry, this.#parts.clock.now());
    this.#byEntry.set(entry.id, lease);
    return lease;
  }

  /** Why the process is not entitled to an entry any more. */
  #whyWithdrawn(entry: Entry): LeaseEnd {
    const found = this.#parts.entries.value?.entries.find(({ id }) => id === entry.id);
    const now = this.#parts.clock.now();
    if (found === undefined || (found.expiresAt ?? NEVER) <= now) return 'entry-removed';
    const same = found.spiffeId === entry.spiffeId && found.selectors.join('\n') === entry.selectors.join('\n');
    return same ? 'selectors-changed' : 'entry-changed';
  }

  async #issue(attested: Attested, lease: Lease): Promise<void> {
    const { clock, issuer, random } = this.#parts;
    const { entry } = lease;
    try {
      const svid = await issuer.x509(attested, lease, lease.x509 === undefined && !lease.adopted ? 'first' : 'renewal');
      if (lease.ended) svid.privateKey.destroy();
      else this.#supersede(lease, lease.renew(svid, entry, random()));
    } catch (error) {
      // The policy has looked at a living lease and says no: that is its end. What was never issued has none.
      const refused = isMayflyError(error, 'POLICY_REFUSED') && (lease.x509 !== undefined || lease.adopted);
      if (refused && !lease.ended) {
        this.#end(lease, 'refused', { detail: messageOf(error) });
        return;
      }
      const now = clock.now();
      const count = (lease.failure?.count ?? 0) + 1;
      const retryAt = now + retryDelay(count, lease.remaining(now), random());
      this.#failed(lease, { error, count, retryAt });
    }
  }

  #failed(lease: Lease, failure: LeaseFailure): void {
    const { clock, log } = this.#parts;
    lease.fail(failure);
    if (lease.x509 === undefined) return;
    const now = clock.now();
    const remaining = lease.remaining(now);
    log[remaining < (lease.x509.expiresAt - lease.x509.issuedAt) / 10 ? 'error' : 'warn'](
      'lease.renewal_failed',
      `the certificate of process ${this.#instance.pid} for ${lease.entry.spiffeId} could not be renewed and ends in ${Math.round(remaining / 1000)} s: ${messageOf(failure.error)}`,
      {
        instance: this.#instance.key,
        entry: lease.entry.id,
        serial: lease.x509.serial,
        retry_in_ms: Math.round(failure.retryAt - now),
      },
    );
  }

  #supersede(lease: Lease, serials: readonly string[]): void {
    if (serials.length === 0) return;
    const { clock, revocation } = this.#parts;
    const alarm = clock.after(SUPERSEDE_AFTER_MS, () => {
      this.#superseding.delete(alarm);
      revocation.supersede(lease.id, serials);
    });
    this.#superseding.set(alarm, lease);
  }

  #end(lease: Lease, reason: LeaseEnd, how: EndOptions = {}): EndedLease {
    this.#byEntry.delete(lease.entry.id);
    for (const [alarm, of] of this.#superseding) {
      if (of !== lease) continue;
      alarm.cancel();
      this.#superseding.delete(alarm);
    }
    lease.end();
    return this.#ended(lease, reason, how);
  }
}
