import type { Attested } from '../attest/attestor.ts';
import type { Audiences } from '../kernel/audience.ts';
import type { Alarm } from '../kernel/clock.ts';
import { isMayflyError, MayflyError, messageOf } from '../kernel/errors.ts';
import { Latest } from '../kernel/latest.ts';
import type { SpiffeId } from '../kernel/spiffe-id.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Entitled } from '../registry/entitlement.ts';
import type { Entry } from '../registry/entry.ts';
import type { TrustBundle } from '../svid/trust-bundle.ts';
import type { JwtSvid, X509Svid } from './issuer.ts';
import type { LeaseEnd } from './lease.ts';
import { Lease } from './lease.ts';
import type { LeaseParts } from './leases.ts';
import { retryDelay } from './rotation.ts';

/** One certificate as a stream delivers it: the hint is the entry's newest. */
export interface Delivered<S> {
  readonly svid: S;
  readonly hint: string;
}

/** The bundles that a workload may verify others with. */
export interface BundleUpdate {
  readonly own: TrustBundle;
  /** Those that its entries federate with and that are known, by trust domain. */
  readonly federated: readonly TrustBundle[];
}

/** All that `FetchX509SVID` tells; at least one certificate. */
export interface X509Update extends BundleUpdate {
  readonly svids: readonly Delivered<X509Svid>[];
}

/** What a workload tells its table. */
export interface WorkloadEvents {
  leaseEnd(lease: Lease, reason: LeaseEnd): void;
  /** No call, stream or lease is left: it may be ended. */
  idle(): void;
  /** It has ended, for good. */
  end(): void;
}

/**
 * One process instance and what it holds: its leases, and the newest update for those who follow. It is brought up to date in one
 * place, {@link refresh}: at each call, when an alarm rings, and when entries, bundles or the clock change.
 */
export class Workload {
  readonly instance: ProcessInstance;
  readonly #parts: LeaseParts;
  readonly #on: WorkloadEvents;
  readonly #leases = new Map<string, Lease>();
  readonly #release: () => void;
  #x509 = new Latest<X509Update>();
  #bundles = new Latest<BundleUpdate>();
  /** What the newest refresh worked with. */
  #entries: readonly Entry[] | undefined;
  /** Why the newest refresh as a whole came to nothing. */
  #failure: unknown;
  #x509Followers = 0;
  #bundleFollowers = 0;
  #calls = 0;
  #alarm: Alarm | undefined;
  #running: Promise<void> | undefined;
  #queued: Promise<void> | undefined;
  #ended: LeaseEnd | undefined;

  constructor(instance: ProcessInstance, parts: LeaseParts, on: WorkloadEvents) {
    this.instance = instance;
    this.#parts = parts;
    this.#on = on;
    this.#release = instance.hold();
  }

  get leases(): Iterable<Lease> {
    return this.#leases.values();
  }

  /** True when nothing hangs on the workload any more: no call, no stream, no lease. */
  get idle(): boolean {
    return this.#calls === 0 && this.#leases.size === 0;
  }

  /**
   * A full update at once, then one at each change of what it tells.
   *
   * @throws MayflyError `NO_IDENTITY` when no entry matches, now or later; `ATTESTATION_FAILED`, `AUTHORITY_UNAVAILABLE`,
   *   `SHUTTING_DOWN`
   */
  async *x509(signal: AbortSignal): AsyncGenerator<X509Update, void, undefined> {
    this.#calls += 1;
    this.#x509Followers += 1;
    try {
      const entitled = await this.#entitle();
      await this.refresh(entitled);
      if (this.#x509.value === undefined) this.#failFirst(entitled);
      yield* this.#x509.follow(signal);
    } finally {
      this.#x509Followers -= 1;
      this.#leave();
    }
  }

  /** The bundles at once, then at each change. Errors as {@link x509}; no certificate is made for it. */
  async *bundles(signal: AbortSignal): AsyncGenerator<BundleUpdate, void, undefined> {
    this.#calls += 1;
    this.#bundleFollowers += 1;
    try {
      await this.refresh(await this.#entitle());
      yield* this.#bundles.follow(signal);
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
    const now = this.#parts.clock.now();
    const found: Delivered<JwtSvid>[] = [];
    for (const entry of wantedEntries(entitled, spiffeId)) {
      const svid = this.#leases.get(entry.id)?.tokens.current(audiences, now);
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
      const entitled = await this.#entitle();
      const wanted = wantedEntries(entitled, spiffeId);
      if (wanted.length === 0) {
        throw new MayflyError('NO_IDENTITY', `process ${this.instance.pid} has no identity ${spiffeId ?? ''}`);
      }
      const settled = await Promise.allSettled(wanted.map((entry) => this.#token(entitled.attested, entry, audiences)));
      const svids = settled.filter((one) => one.status === 'fulfilled').map((one) => one.value);
      const failed = settled.find((one) => one.status === 'rejected');
      if (svids.length === 0 && failed !== undefined) throw failed.reason;
      return svids;
    } finally {
      this.#leave();
    }
  }

  /** What the process is entitled to, at a call. Strangers' calls are admitted by number; what is due for them later is not. */
  async #entitle(): Promise<Entitled> {
    if (this.#ended !== undefined) throw endError(this.#ended, this.instance);
    const entitled = this.#parts.entitlement.current(this.instance) ?? (await this.#admitted(() => this.#look()));
    const followed = this.#x509Followers + this.#bundleFollowers > 0;
    // A call has found the process entitled to something else than its streams were told.
    if (followed && this.#entries !== undefined && this.#entries !== entitled.entries) void this.refresh(entitled);
    return entitled;
  }

  async #admitted<T>(work: () => Promise<T>): Promise<T> {
    const leave = this.#parts.admit();
    try {
      return await work();
    } finally {
      leave();
    }
  }

  async #look(): Promise<Entitled> {
    if (this.#ended !== undefined) throw endError(this.#ended, this.instance);
    const { entitlement } = this.#parts;
    return entitlement.current(this.instance) ?? (await entitlement.of(this.instance));
  }

  /**
   * Brings leases and updates in line with entries, bundles and time. Runs one at a time: who asks while one runs shares the next.
   *
   * @param entitled what was just found out about the process; without it the process is attested again
   * @throws never: what cannot be issued is retried, told in the log, and seen by those who wait for a first update
   */
  refresh(entitled?: Entitled): Promise<void> {
    if (this.#running === undefined) {
      this.#running = this.#refreshOnce(entitled).finally(() => {
        this.#running = undefined;
      });
      return this.#running;
    }
    this.#queued ??= this.#running.then(() => {
      this.#queued = undefined;
      return this.refresh();
    });
    return this.#queued;
  }

  async #refreshOnce(known: Entitled | undefined): Promise<void> {
    if (this.#ended !== undefined) return;
    try {
      this.#failure = undefined;
      const entitled = known ?? (await this.#look());
      this.#entries = entitled.entries;
      this.#withdrawAllBut(entitled.entries);
      if (this.#x509Followers > 0) await this.#issueDue(entitled);
      else this.#endExpired();
      this.#publish(entitled.entries);
    } catch (error) {
      this.#failure = error;
      if (isMayflyError(error, 'NO_IDENTITY') || isMayflyError(error, 'CALLER_UNKNOWN')) {
        this.#withdrawAllBut([]);
        this.#endStreams(error);
      } else {
        this.#postpone(error);
      }
    }
    if (this.#ended === undefined) this.#schedule();
  }

  /** Ends the leases of entries that no longer entitle, or that now name another identity: that is another lease. */
  #withdrawAllBut(entries: readonly Entry[]): void {
    const byId = new Map(entries.map((entry) => [entry.id, entry]));
    for (const lease of this.#leases.values()) {
      const entry = byId.get(lease.entry.id);
      if (entry?.spiffeId === lease.entry.spiffeId) lease.replaceEntry(entry);
      else this.#endLease(lease, 'withdrawn');
    }
  }

  /** Issues what is due; each entry for itself, so that one that cannot be signed holds up no other. */
  async #issueDue({ attested, entries }: Entitled): Promise<void> {
    const now = this.#parts.clock.now();
    await Promise.all(
      entries
        .map((entry) => this.#lease(entry))
        .filter((lease) => lease.due(now))
        .map(async (lease) => {
          try {
            const occasion = lease.x509 === undefined ? 'first' : 'renewal';
            const svid = await this.#parts.issuer.x509(attested, lease.entry, occasion);
            if (this.#leases.get(lease.entry.id) === lease) lease.renew(svid, this.#parts.random());
            else svid.privateKey.destroy();
          } catch (error) {
            this.#failed(lease, error);
          }
        }),
    );
  }

  /** Tells followers, if what they have been told is no longer so. */
  #publish(entries: readonly Entry[]): void {
    const now = this.#parts.clock.now();
    const bundles = this.#bundlesFor(entries);
    if (!sameBundles(this.#bundles.value, bundles)) this.#bundles.set(bundles);

    const svids: Delivered<X509Svid>[] = [];
    for (const entry of entries) {
      const svid = this.#leases.get(entry.id)?.usable(now);
      if (svid !== undefined) svids.push({ svid, hint: entry.hint });
    }
    const told = this.#x509.value;
    if (svids.length > 0) {
      if (!sameBundles(told, bundles) || !sameSvids(told?.svids, svids)) this.#x509.set({ svids, ...bundles });
    } else if (told !== undefined && this.#x509Followers > 0) {
      // All have expired unrenewed: whoever still follows would hold certificates that no peer accepts.
      this.#endX509(new MayflyError('AUTHORITY_UNAVAILABLE', 'every certificate expired before it could be renewed'));
    } else if (told !== undefined) {
      this.#x509 = new Latest();
    }
  }

  #bundlesFor(entries: readonly Entry[]): BundleUpdate {
    const own = this.#parts.authority.bundle.value;
    if (own === undefined) throw new MayflyError('AUTHORITY_UNAVAILABLE', 'the authority has no bundle yet');
    const known = this.#parts.federated.value;
    const domains = [...new Set(entries.flatMap((entry) => entry.federatesWith))].toSorted();
    return { own, federated: domains.map((domain) => known?.get(domain)).filter((bundle) => bundle !== undefined) };
  }

  /** The error for a caller that waits for its first update and does not get it. */
  #failFirst({ entries }: Entitled): never {
    if (this.#ended !== undefined) throw endError(this.#ended, this.instance);
    const failed = entries.map((entry) => this.#leases.get(entry.id)?.failure).find((failure) => failure !== undefined);
    throw this.#failure ?? failed?.error ?? new MayflyError('AUTHORITY_UNAVAILABLE', 'no certificate could be issued');
  }

  async #token(attested: Attested, entry: Entry, audiences: Audiences): Promise<Delivered<JwtSvid>> {
    const lease = this.#lease(entry);
    const svid =
      lease.tokens.current(audiences, this.#parts.clock.now()) ??
      (await lease.tokens.issue(audiences, () => this.#parts.issuer.jwt(attested, entry, audiences)));
    if (this.#leases.get(entry.id) === lease) return { svid, hint: entry.hint };
    throw new MayflyError('NO_IDENTITY', `the lease for ${entry.spiffeId} ended while its token was being issued`);
  }

  #lease(entry: Entry): Lease {
    let lease = this.#leases.get(entry.id);
    if (lease === undefined || lease.entry.spiffeId !== entry.spiffeId) {
      if (lease !== undefined) this.#endLease(lease, 'withdrawn');
      lease = new Lease(this.instance, entry, this.#parts.clock.now());
      this.#leases.set(entry.id, lease);
    }
    return lease;
  }

  #failed(lease: Lease, error: unknown): void {
    const now = this.#parts.clock.now();
    const remaining = (lease.usable(now)?.expiresAt ?? now) - now;
    const count = (lease.failure?.count ?? 0) + 1;
    const delay = retryDelay(count, remaining, this.#parts.random());
    lease.fail({ error, count, retryAt: now + delay });
    if (lease.x509 === undefined) return;
    this.#parts.log[remaining < (lease.x509.expiresAt - lease.x509.issuedAt) / 10 ? 'error' : 'warn'](
      'lease.renewal_failed',
      `the certificate of process ${this.instance.pid} for ${lease.entry.spiffeId} could not be renewed and ends in ${Math.round(remaining / 1000)} s: ${messageOf(error)}`,
      { instance: this.instance.key, entry: lease.entry.id, serial: lease.x509.serial, retry_in_ms: Math.round(delay) },
    );
  }

  /** Attestation or policy could not tell: what was issued serves on until it expires, and is looked at again soon. */
  #postpone(error: unknown): void {
    for (const lease of this.#leases.values()) this.#failed(lease, error);
  }

  #endLease(lease: Lease, reason: LeaseEnd): void {
    this.#leases.delete(lease.entry.id);
    lease.end();
    this.#on.leaseEnd(lease, reason);
  }

  #endX509(reason: unknown): void {
    this.#x509.end(reason);
    this.#x509 = new Latest();
  }

  #endStreams(reason: unknown): void {
    this.#endX509(reason);
    this.#bundles.end(reason);
    this.#bundles = new Latest();
  }

  /** Ends everything, for good. Keys are dropped, streams end with the reason's error. */
  end(reason: LeaseEnd): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#alarm?.cancel();
    for (const lease of this.#leases.values()) this.#endLease(lease, reason);
    this.#endStreams(endError(reason, this.instance));
    this.#release();
    this.#on.end();
  }

  #leave(): void {
    this.#calls -= 1;
    if (this.#ended !== undefined) return;
    this.#schedule();
    if (this.idle) this.#on.idle();
  }

  /** Sets the one alarm to whatever comes first: a renewal or retry that somebody waits for, or an expiry. */
  #schedule(): void {
    this.#alarm?.cancel();
    const now = this.#parts.clock.now();
    let next =
      this.#calls > 0
        ? (this.#parts.entitlement.nextExpiry(now) ?? Number.POSITIVE_INFINITY)
        : Number.POSITIVE_INFINITY;
    for (const lease of this.#leases.values()) {
      const due = lease.failure?.retryAt ?? (lease.x509 === undefined ? Number.POSITIVE_INFINITY : lease.renewsAt);
      const over = lease.expiresAt === 0 && this.#calls > 0 ? Number.POSITIVE_INFINITY : lease.expiresAt;
      next = Math.min(next, this.#x509Followers > 0 ? due : over);
    }
    this.#alarm = next === Number.POSITIVE_INFINITY ? undefined : this.#parts.clock.at(next, () => this.#ring());
  }

  #ring(): void {
    if (this.#calls > 0) {
      void this.refresh();
      return;
    }
    this.#endExpired();
    if (this.idle) this.#on.idle();
    else this.#schedule();
  }

  #endExpired(): void {
    const now = this.#parts.clock.now();
    for (const lease of this.#leases.values()) {
      // One under which nothing was issued is of use to a call that is under way, and to nobody else.
      const unused = lease.expiresAt === 0 && this.#calls > 0;
      if (now >= lease.expiresAt && !unused) this.#endLease(lease, 'expired');
    }
  }
}

function wantedEntries({ entries }: Entitled, spiffeId: SpiffeId | undefined): readonly Entry[] {
  return spiffeId === undefined ? entries : entries.filter((entry) => entry.spiffeId === spiffeId);
}

function endError(reason: LeaseEnd, instance: ProcessInstance): MayflyError {
  return reason === 'shutdown'
    ? new MayflyError('SHUTTING_DOWN', 'the agent is stopping')
    : new MayflyError(
        'NO_IDENTITY',
        `process ${instance.pid} has ${reason === 'exited' ? 'exited' : 'become another program or user'}`,
      );
}

function sameBundles(told: BundleUpdate | undefined, { own, federated }: BundleUpdate): boolean {
  return (
    told?.own === own &&
    told.federated.length === federated.length &&
    federated.every((bundle, index) => told.federated[index] === bundle)
  );
}

function sameSvids(told: readonly Delivered<X509Svid>[] | undefined, svids: readonly Delivered<X509Svid>[]): boolean {
  return (
    told?.length === svids.length &&
    svids.every(({ svid, hint }, index) => told[index]?.svid === svid && told[index].hint === hint)
  );
}
