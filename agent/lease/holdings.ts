import type { Attested } from '../attest/attestor.ts';
import type { Audiences } from '../kernel/audience.ts';
import type { Alarm } from '../kernel/clock.ts';
import { isMayflyError, MayflyError, messageOf } from '../kernel/errors.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Occasion } from '../policy/grant.ts';
import type { Entitled } from '../registry/entitlement.ts';
import type { Entry } from '../registry/entry.ts';
import { isOf } from '../registry/written-entry.ts';
import type { EndedLease, EndOptions } from '../revocation/revocations.ts';
import type { FollowedKind, Followers } from './followers.ts';
import type { AnyHeldSvid, HeldSvid, IssueFailure, KeyedSvid } from './held-svid.ts';
import type { Inheritance, LeaseEnd } from './lease.ts';
import { Lease } from './lease.ts';
import type { LeaseParts } from './lease-parts.ts';
import { retryDelay } from './rotation.ts';
import type { JwtSvid } from './svid.ts';
import type { Delivered } from './updates.ts';

const NEVER = Number.POSITIVE_INFINITY;

const KINDS: readonly FollowedKind[] = ['x509', 'wit'];

// A client that was just given the successor of a certificate has its connections and files to bring over.
const SUPERSEDE_AFTER_MS = 5000;

/** What these leases need of the stage's parts. */
export type HoldingsParts = Pick<
  LeaseParts,
  'issuer' | 'entries' | 'revocation' | 'clock' | 'log' | 'random' | 'observer'
>;

/** What a lease holds of a kind that somebody follows. */
export interface FollowedSvid {
  readonly lease: Lease;
  readonly kind: FollowedKind;
  readonly held: AnyHeldSvid;
}

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

  /** Whether there is a lease of one of these entries. */
  haveAny(entries: readonly Entry[]): boolean {
    return entries.some(({ id }) => this.#byEntry.has(id));
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

  /** Issues what is followed and due; each for itself, so that one that cannot be signed holds up no other. */
  async issueDue({ attested, entries }: Entitled, followers: Followers): Promise<void> {
    const now = this.#parts.clock.now();
    const due: (() => Promise<void>)[] = [];
    for (const entry of entries) {
      for (const kind of KINDS.filter((each) => followers.want(each, entry))) {
        const lease = this.#of(entry);
        const held = lease[kind];
        if (!held.isDue(now)) held.recover();
        else if (held.mayTry(now)) due.push(() => this.#issueKind(attested, lease, kind));
      }
    }
    await Promise.all(due.map((issue) => issue()));
  }

  /**
   * The SVIDs for `entries` that a verifier would accept now.
   *
   * @param of which of those that a lease holds
   */
  delivered<S extends KeyedSvid>(
    entries: readonly Entry[],
    of: (lease: Lease) => HeldSvid<S>,
  ): readonly Delivered<S>[] {
    const now = this.#parts.clock.now();
    const found: Delivered<S>[] = [];
    for (const entry of entries) {
      const lease = this.#byEntry.get(entry.id);
      const svid = lease === undefined ? undefined : of(lease).usable(now);
      if (svid !== undefined) found.push({ svid, hint: entry.hint });
    }
    return found;
  }

  /** Notes that a client's connection took SVIDs. */
  taken(svids: readonly KeyedSvid[]): void {
    const now = this.#parts.clock.now();
    for (const lease of this) {
      if (svids.some((svid) => KINDS.some((kind) => lease[kind].current === svid))) lease.delivered(now);
    }
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

  /** Notes that nothing can be issued now, for whatever is followed and due: what there is serves on meanwhile. */
  postpone(failure: IssueFailure, followers: Followers): void {
    const now = this.#parts.clock.now();
    for (const { held, lease } of this.followed(followers)) if (held.isDue(now)) this.#failed(lease, held, failure);
  }

  /** Why the first of those that have no SVID of a kind has none. */
  failureOf(kind: FollowedKind, entries: readonly Entry[]): unknown {
    return entries.map((entry) => this.#byEntry.get(entry.id)?.[kind].failure).find((failure) => failure !== undefined)
      ?.error;
  }

  /** What is renewed, since somebody follows it. */
  followed(followers: Followers): readonly FollowedSvid[] {
    return [...this].flatMap((lease) =>
      KINDS.filter((kind) => followers.want(kind, lease.entry)).map((kind) => ({ lease, kind, held: lease[kind] })),
    );
  }

  /** When the next of those that are followed is due, or is to be tried again; infinity when none is. */
  nextDue(followers: Followers): number {
    return Math.min(
      NEVER,
      ...this.followed(followers).map(
        ({ held }) => held.failure?.retryAt ?? (held.current === undefined ? NEVER : held.renewsAt),
      ),
    );
  }

  /** How long what there is of a kind that is renewed is still valid at least, in milliseconds; 0 without any. */
  shortest(now: number): number {
    const remaining = [...this].flatMap((lease) => KINDS.map((kind) => lease[kind].remaining(now)));
    const left = remaining.filter((ms) => ms > 0);
    return left.length === 0 ? 0 : Math.min(...left);
  }

  /**
   * When the next lease is of no more use; infinity when none is.
   *
   * @param inUse a call is under way, for which a lease may be that nothing was issued under yet
   */
  nextExpiry(inUse: boolean): number {
    const expiries = [...this].map(({ expiresAt }) => (expiresAt === 0 && inUse ? NEVER : expiresAt));
    return Math.min(NEVER, ...expiries);
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

  #of(entry: Entry): Lease {
    const known = this.#byEntry.get(entry.id);
    if (known !== undefined && known.entry.spiffeId === entry.spiffeId) {
      known.replaceEntry(entry);
      return known;
    }
    if (known !== undefined) this.#end(known, this.#whyWithdrawn(known.entry));
    const lease = new Lease(this.#instance, entry, this.#parts.clock.now());
    this.#byEntry.set(entry.id, lease);
    return lease;
  }

  /** Why the process is not entitled to an entry any more. */
  #whyWithdrawn(entry: Entry): LeaseEnd {
    const written = this.#parts.entries.value?.get(entry.id);
    const now = this.#parts.clock.now();
    if (written === undefined || (written.expiresAt ?? NEVER) <= now) return 'entry-removed';
    return isOf(entry, written) ? 'selectors-changed' : 'entry-changed';
  }

  #issueKind(attested: Attested, lease: Lease, kind: FollowedKind): Promise<void> {
    const { issuer } = this.#parts;
    switch (kind) {
      case 'x509':
        return this.#issue(lease, kind, lease.x509, (occasion) => issuer.x509(attested, lease, occasion));
      case 'wit':
        return this.#issue(lease, kind, lease.wit, (occasion) => issuer.wit(attested, lease, occasion));
    }
  }

  async #issue<S extends KeyedSvid>(
    lease: Lease,
    kind: FollowedKind,
    held: HeldSvid<S>,
    issue: (occasion: Occasion) => Promise<S>,
  ): Promise<void> {
    const { clock, observer, random } = this.#parts;
    const { entry } = lease;
    try {
      const svid = await issue(held.opened ? 'renewal' : 'first');
      if (lease.ended) {
        svid.privateKey.destroy();
      } else {
        const overdue = held.overdue(clock.now());
        this.#supersede(lease, held.identifier, held.renew(svid, entry, random()));
        if (overdue !== undefined) observer?.renewed(kind, overdue);
      }
    } catch (error) {
      // The policy has looked at a living lease and says no: that is its end. What was never issued has none.
      if (isMayflyError(error, 'POLICY_REFUSED') && held.opened && !lease.ended) {
        this.#end(lease, 'refused', { detail: messageOf(error) });
        return;
      }
      const now = clock.now();
      const count = (held.failure?.count ?? 0) + 1;
      const retryAt = now + retryDelay(count, held.remaining(now), random());
      this.#failed(lease, held, { error, count, retryAt });
    }
  }

  #failed(lease: Lease, held: AnyHeldSvid, failure: IssueFailure): void {
    const { clock, log } = this.#parts;
    held.fail(failure);
    const { current, currentId, identifier, name } = held;
    if (current === undefined) return;
    const now = clock.now();
    const remaining = held.remaining(now);
    log[remaining < (current.expiresAt - current.issuedAt) / 10 ? 'error' : 'warn'](
      'lease.renewal_failed',
      `the ${name} of process ${this.#instance.pid} for ${lease.entry.spiffeId} could not be renewed and ends in ${Math.round(remaining / 1000)} s: ${messageOf(failure.error)}`,
      {
        instance: this.#instance.key,
        entry: lease.entry.id,
        [identifier]: currentId,
        retry_in_ms: Math.round(failure.retryAt - now),
      },
    );
  }

  #supersede(lease: Lease, by: 'serial' | 'jti', ids: readonly string[]): void {
    if (ids.length === 0) return;
    const { clock, revocation } = this.#parts;
    const alarm = clock.after(SUPERSEDE_AFTER_MS, () => {
      this.#superseding.delete(alarm);
      revocation.supersede(lease.id, by, ids);
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
