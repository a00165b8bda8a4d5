import type { Audiences } from '../kernel/audience.ts';
import type { Alarm } from '../kernel/clock.ts';
import { isMayflyError, MayflyError } from '../kernel/errors.ts';
import { Latest } from '../kernel/latest.ts';
import { OneAtATime } from '../kernel/one-at-a-time.ts';
import type { SpiffeId } from '../kernel/spiffe-id.ts';
import type { SvidKind } from '../ledger/event.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Entitled } from '../registry/entitlement.ts';
import type { Entry } from '../registry/entry.ts';
import type { PublishedLists } from '../revocation/publisher.ts';
import type { EndedLease, EndOptions } from '../revocation/revocations.ts';
import type { BundleViews } from './bundle-views.ts';
import { EntitlementLook } from './entitlement-look.ts';
import type { LeaseEnding } from './holdings.ts';
import { Holdings } from './holdings.ts';
import type { Inheritance, Lease, LeaseEnd, LeaseFailure } from './lease.ts';
import { whyEnded } from './lease-end.ts';
import type { LeaseParts } from './lease-parts.ts';
import { retryDelay } from './rotation.ts';
import type { JwtSvid, X509Svid } from './svid.ts';
import type { BundleUpdate, Delivered, ListedX509 } from './updates.ts';
import { Updates } from './updates.ts';

/** What a workload hangs on: the stage's parts, and what all workloads share. */
export type WorkloadParts = LeaseParts & { readonly bundles: BundleViews };

/** What a workload tells its table. */
export interface WorkloadEvents {
  readonly leaseEnd: LeaseEnding;
  /** No call, stream or lease is left: it may be ended. */
  idle(): void;
  /** It has ended, for good. */
  end(): void;
}

/**
 * One process instance: what it holds, and what those are told who follow it. Both are brought up to date in one place,
 * {@link refresh}: at each call, when an alarm rings, and when entries, bundles or the clock change.
 */
export class Workload {
  readonly instance: ProcessInstance;
  readonly #parts: WorkloadParts;
  readonly #on: WorkloadEvents;
  readonly #holdings: Holdings;
  readonly #updates = new Updates();
  readonly #look: EntitlementLook;
  readonly #release: () => void;
  /** What the newest refresh worked with. */
  #entries: readonly Entry[] | undefined;
  /** Why the newest refresh as a whole came to nothing. */
  #failure: unknown;
  /** Set while it could not be found out what the process is entitled to. */
  #unknown: LeaseFailure | undefined;
  #x509Followers = 0;
  #bundleFollowers = 0;
  #calls = 0;
  #alarm: Alarm | undefined;
  readonly #refreshing = new OneAtATime(() => this.#refreshOnce());
  #ended: LeaseEnd | undefined;

  constructor(instance: ProcessInstance, parts: WorkloadParts, on: WorkloadEvents) {
    this.instance = instance;
    this.#parts = parts;
    this.#on = on;
    this.#holdings = new Holdings(instance, parts, on.leaseEnd);
    this.#look = new EntitlementLook(instance, parts);
    this.#release = instance.hold();
  }

  get leases(): Iterable<Lease> {
    return this.#holdings;
  }

  /** True when nothing hangs on the workload any more: no call, no stream, no lease. */
  get idle(): boolean {
    return this.#calls === 0 && this.#holdings.size === 0;
  }

  /** Takes over a lease of an agent before this one; {@link refresh} then looks whether its process is still entitled to it. */
  adopt(entry: Entry, inherited: Inheritance): void {
    this.#holdings.adopt(entry, inherited);
  }

  /** Ends one of the leases at once. Whoever follows is told in the same turn: by the rest, or by the end of the stream. */
  endLease(lease: Lease, reason: LeaseEnd, how: EndOptions): EndedLease {
    const ended = this.#holdings.endOne(lease, reason, how);
    if (this.#updates.x509.value !== undefined) this.#tell(this.#entries ?? []);
    void this.refresh();
    return ended;
  }

  /** Notes that a client's connection took certificates. */
  delivered(svids: readonly X509Svid[]): void {
    this.#holdings.taken(svids);
  }

  /** Has the certificate of a lease renewed now; what it has serves until its successor is there. */
  renewNow(lease: Lease): Promise<void> {
    lease.outdate();
    return this.refresh();
  }

  /**
   * A full update at once, then one at each change of what it tells.
   *
   * @throws MayflyError `NO_IDENTITY` when no entry matches, now or later; `ATTESTATION_FAILED`, `AUTHORITY_UNAVAILABLE`,
   *   `DISK_FULL`, `OVERLOADED`, `SHUTTING_DOWN`
   */
  async *x509(signal: AbortSignal): AsyncGenerator<ListedX509, void, undefined> {
    this.#calls += 1;
    this.#x509Followers += 1;
    try {
      const entitled = await this.#entitleTo('x509');
      await this.refresh();
      // What came to nothing may have been overtaken: by an entry that changed while its certificate was being signed.
      if (this.#updates.x509.value === undefined) await this.#refreshing.next;
      if (this.#updates.x509.value === undefined) this.#failFirst(entitled);
      const { forSvids } = this.#parts.revocation;
      for await (const [update, lists] of Latest.followBoth(this.#updates.x509, forSvids, signal)) {
        yield { update, lists };
      }
    } finally {
      this.#x509Followers -= 1;
      this.#leave();
    }
  }

  /** The bundles at once, then at each change. Errors as {@link x509}; no certificate is made for it. */
  bundles(signal: AbortSignal): AsyncGenerator<BundleUpdate, void, undefined> {
    return this.#followBundles((bundles) => bundles.follow(signal));
  }

  /**
   * The bundles with the revocation lists at once, then at each change of either. Errors as {@link bundles}.
   *
   * @param to whose pace it is
   */
  listedBundles(
    signal: AbortSignal,
    to: 'verifiers' | 'proxies',
  ): AsyncGenerator<readonly [BundleUpdate, PublishedLists], void, undefined> {
    const { forBundles, forProxies } = this.#parts.revocation;
    const lists = to === 'proxies' ? forProxies : forBundles;
    return this.#followBundles((bundles) => Latest.followBoth(bundles, lists, signal));
  }

  async *#followBundles<T>(
    follow: (bundles: Latest<BundleUpdate>) => AsyncIterable<T>,
  ): AsyncGenerator<T, void, undefined> {
    this.#calls += 1;
    this.#bundleFollowers += 1;
    try {
      const entitled = await this.#entitle();
      await this.refresh();
      if (this.#updates.bundles.value === undefined) this.#failFirst(entitled);
      yield* follow(this.#updates.bundles);
    } finally {
      this.#bundleFollowers -= 1;
      this.#leave();
    }
  }

  /**
   * The bundles with which this workload may have a token validated: being attested is enough for the own trust domain's.
   *
   * @throws MayflyError `ATTESTATION_FAILED`, `CALLER_UNKNOWN`, `OVERLOADED`; `AUTHORITY_UNAVAILABLE` while there is no bundle
   */
  async verifiers(): Promise<BundleUpdate> {
    this.#calls += 1;
    try {
      const entitled = await this.#entitle();
      return this.#bundlesFor(entitled.entries);
    } catch (error) {
      if (isMayflyError(error, 'NO_IDENTITY') && this.#ended === undefined) return this.#bundlesFor([]);
      throw error;
    } finally {
      this.#leave();
    }
  }

  /** The tokens for `audiences` if all of them can be handed out again: the path of most calls, and it never waits. */
  cachedJwt(audiences: Audiences, spiffeId: SpiffeId | undefined): readonly Delivered<JwtSvid>[] | undefined {
    const entitled = this.#ended === undefined ? this.#parts.entitlement.current(this.instance) : undefined;
    if (entitled === undefined) return undefined;
    const found: Delivered<JwtSvid>[] = [];
    for (const entry of wantedEntries(entitled, spiffeId)) {
      const svid = this.#holdings.cachedToken(entry, audiences);
      if (svid === undefined) return undefined;
      found.push({ svid, hint: entry.hint });
    }
    return found.length > 0 ? found : undefined;
  }

  /**
   * A token for each identity, or for the one asked for. One that the policy refuses is left out while others remain.
   *
   * @throws MayflyError as {@link x509}; `NO_IDENTITY` also when `spiffeId` is none of the caller's
   */
  async jwt(audiences: Audiences, spiffeId: SpiffeId | undefined): Promise<readonly Delivered<JwtSvid>[]> {
    this.#calls += 1;
    try {
      const entitled = await this.#entitleTo('jwt');
      const wanted = wantedEntries(entitled, spiffeId);
      if (wanted.length === 0) {
        throw new MayflyError('NO_IDENTITY', `process ${this.instance.pid} has no identity ${spiffeId ?? ''}`);
      }
      const { attested } = entitled;
      const settled = await Promise.allSettled(wanted.map((entry) => this.#holdings.token(attested, entry, audiences)));
      this.#mustLast();
      const svids = settled.filter((one) => one.status === 'fulfilled').map((one) => one.value);
      const failed = settled.find((one) => one.status === 'rejected');
      if (svids.length === 0 && failed !== undefined) throw failed.reason;
      return svids;
    } finally {
      this.#leave();
    }
  }

  /** {@link #entitle} for what is to be issued: that it is refused to a stranger is a decision, and recorded. */
  async #entitleTo(kind: SvidKind): Promise<Entitled> {
    try {
      return await this.#entitle();
    } catch (error) {
      const attested = this.#parts.entitlement.attested(this.instance);
      if (isMayflyError(error, 'NO_IDENTITY') && attested !== undefined) {
        this.#parts.issuer.refuseStranger(attested, kind);
      }
      throw error;
    }
  }

  /** What the process is entitled to, at a call. */
  async #entitle(): Promise<Entitled> {
    this.#mustLast();
    const entitled = await this.#look.atCall();
    this.#mustLast();
    const followed = this.#x509Followers + this.#bundleFollowers > 0;
    // A call has found the process entitled to something else than its streams were told.
    if (followed && this.#entries !== undefined && this.#entries !== entitled.entries) void this.refresh();
    return entitled;
  }

  /** @throws MayflyError the reason why the workload is over, when it is */
  #mustLast(): void {
    if (this.#ended !== undefined) throw endError(this.#ended, this.instance);
  }

  /**
   * Brings leases and updates in line with entries, bundles and time. Runs one at a time: who asks while one runs shares the next.
   *
   * @throws never: what cannot be issued is retried, told in the log, and seen by those who wait for a first update
   */
  refresh(): Promise<void> {
    return this.#refreshing.ask();
  }

  async #refreshOnce(): Promise<void> {
    if (this.#ended !== undefined) return;
    try {
      if (this.#x509Followers === 0) this.#endExpired();
      const entitled = await this.#look.now();
      this.#mustLast();
      this.#unknown = undefined;
      this.#entries = entitled.entries;
      this.#holdings.keepOnly(entitled.entries);
      if (this.#x509Followers > 0) await this.#holdings.issueDue(entitled);
      this.#mustLast();
      this.#publish(entitled.entries);
      this.#failure = undefined;
    } catch (error) {
      this.#failure = error;
      if (this.#ended !== undefined) return;
      if (isMayflyError(error, 'NO_IDENTITY') || isMayflyError(error, 'CALLER_UNKNOWN')) {
        this.#unknown = undefined;
        this.#holdings.keepOnly([]);
        this.#updates.end(error);
      } else {
        this.#postpone(error);
      }
    }
    // Nobody may have been there to begin with: entries and bundles change for everybody who holds something.
    if (this.idle) this.#on.idle();
    else this.#schedule();
  }

  /** Attestation could not tell, or there is no bundle: what was issued serves on until it expires, and it is tried again soon. */
  #postpone(error: unknown): void {
    const { clock, random } = this.#parts;
    const now = clock.now();
    const remaining = [...this.#holdings].map((lease) => lease.remaining(now)).filter((ms) => ms > 0);
    const count = (this.#unknown?.count ?? 0) + 1;
    const least = remaining.length === 0 ? 0 : Math.min(...remaining);
    this.#unknown = { error, count, retryAt: now + retryDelay(count, least, random()) };
    this.#holdings.postpone(this.#unknown);
  }

  /** Tells followers, if what they have been told is no longer so. */
  #publish(entries: readonly Entry[]): void {
    this.#updates.tellBundles(this.#bundlesFor(entries));
    this.#tell(entries);
  }

  #tell(entries: readonly Entry[]): void {
    const svids = this.#holdings.delivered(entries);
    if (svids.length > 0) this.#updates.tellX509({ svids, ...this.#bundlesFor(entries) });
    else this.#updates.endX509(this.#whyNone(entries));
  }

  /** Why whoever still follows has no certificate any more. */
  #whyNone(entries: readonly Entry[]): MayflyError {
    const failure = this.#holdings.failureOf(entries);
    const lost = [...this.#holdings].length === 0;
    if (lost || isMayflyError(failure, 'POLICY_REFUSED') || isMayflyError(failure, 'REISSUE_BARRED')) {
      return new MayflyError('NO_IDENTITY', `process ${this.instance.pid} has lost its identity`, { cause: failure });
    }
    return new MayflyError('AUTHORITY_UNAVAILABLE', 'every certificate expired before it was renewed');
  }

  #bundlesFor(entries: readonly Entry[]): BundleUpdate {
    return this.#parts.bundles.of(entries);
  }

  /** The error for a caller that waits for its first update and does not get it. */
  #failFirst({ entries }: Entitled): never {
    this.#mustLast();
    throw (
      this.#failure ??
      this.#holdings.failureOf(entries) ??
      new MayflyError('AUTHORITY_UNAVAILABLE', 'no certificate could be issued')
    );
  }

  /** Ends everything, for good. Keys are dropped, streams end with the reason's error. */
  end(reason: LeaseEnd): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#alarm?.cancel();
    this.#holdings.end(reason);
    this.#updates.end(endError(reason, this.instance));
    this.#release();
    this.#on.end();
  }

  #leave(): void {
    this.#calls -= 1;
    if (this.#ended !== undefined) return;
    this.#schedule();
    if (this.idle) this.#on.idle();
  }

  /** Sets the one alarm to whatever comes first: a retry, a renewal that somebody waits for, or an expiry. */
  #schedule(): void {
    this.#alarm?.cancel();
    const { clock, entitlement } = this.#parts;
    const followed = this.#x509Followers > 0;
    const inUse = this.#calls > 0;
    const next = Math.min(
      // What the process is entitled to comes before what is due for it.
      this.#unknown?.retryAt ?? (followed ? this.#holdings.nextDue : Number.POSITIVE_INFINITY),
      followed ? Number.POSITIVE_INFINITY : this.#holdings.nextExpiry(inUse),
      (inUse ? entitlement.nextExpiry(clock.now()) : undefined) ?? Number.POSITIVE_INFINITY,
    );
    this.#alarm = next === Number.POSITIVE_INFINITY ? undefined : clock.at(next, () => this.#ring());
  }

  #ring(): void {
    if (this.#calls > 0 || this.#unknown !== undefined) {
      void this.refresh();
      return;
    }
    this.#endExpired();
    if (this.idle) this.#on.idle();
    else this.#schedule();
  }

  #endExpired(): void {
    this.#holdings.endExpired(this.#parts.clock.now(), this.#calls > 0);
  }
}

function wantedEntries({ entries }: Entitled, spiffeId: SpiffeId | undefined): readonly Entry[] {
  return spiffeId === undefined ? entries : entries.filter((entry) => entry.spiffeId === spiffeId);
}

function endError(reason: LeaseEnd, instance: ProcessInstance): MayflyError {
  return reason === 'shutdown'
    ? new MayflyError('SHUTTING_DOWN', 'the agent is stopping')
    : new MayflyError('NO_IDENTITY', `process ${instance.pid} ${whyEnded(reason)}`);
}
