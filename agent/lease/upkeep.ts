import type { Context } from '../attest/context.ts';
import type { Alarm } from '../kernel/clock.ts';
import { isMayflyError, MayflyError } from '../kernel/errors.ts';
import type { Latest } from '../kernel/latest.ts';
import { OneAtATime } from '../kernel/one-at-a-time.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Entitled } from '../registry/entitlement.ts';
import type { Entry } from '../registry/entry.ts';
import { Abode } from './abode.ts';
import type { BundleViews } from './bundle-views.ts';
import type { EntitlementLook } from './entitlement-look.ts';
import type { FollowedKind, Follower } from './followers.ts';
import { Followers } from './followers.ts';
import type { IssueFailure } from './held-svid.ts';
import type { FollowedSvid, LeaseEnding } from './holdings.ts';
import { Holdings } from './holdings.ts';
import type { LeaseEnd } from './lease.ts';
import { whyEnded } from './lease-end.ts';
import type { LeaseParts } from './lease-parts.ts';
import { retryDelay } from './rotation.ts';
import type { BundleUpdate, Channel } from './updates.ts';
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
 * Keeps what one process instance holds, and what those are told who follow it, in line with entries, bundles and time. Both are brought
 * up to date in one place, {@link refresh}: at each call, when an alarm rings, and when entries, bundles or the clock change.
 */
export class Upkeep {
  readonly holdings: Holdings;
  readonly updates = new Updates();
  readonly #instance: ProcessInstance;
  readonly #parts: WorkloadParts;
  readonly #look: EntitlementLook;
  readonly #on: WorkloadEvents;
  readonly #release: () => void;
  readonly #followers = new Followers();
  readonly #abode: Abode;
  readonly #refreshing = new OneAtATime(() => this.#refreshOnce());
  /** What the newest refresh worked with. */
  #entries: readonly Entry[] | undefined;
  /** Why the newest refresh as a whole came to nothing. */
  #failure: unknown;
  /** Set while it could not be found out what the process is entitled to. */
  #unknown: IssueFailure | undefined;
  #calls = 0;
  #alarm: Alarm | undefined;
  #ended: LeaseEnd | undefined;

  constructor(instance: ProcessInstance, look: EntitlementLook, parts: WorkloadParts, on: WorkloadEvents) {
    this.#instance = instance;
    this.#look = look;
    this.#parts = parts;
    this.#on = on;
    this.holdings = new Holdings(instance, parts, on.leaseEnd);
    this.#release = instance.hold();
    this.#abode = new Abode(parts.contexts, (end) => this.end(end));
  }

  get ended(): boolean {
    return this.#ended !== undefined;
  }

  /** True when nothing hangs on the workload any more: no call, no stream, no lease. */
  get idle(): boolean {
    return this.#calls === 0 && this.holdings.size === 0;
  }

  /** What is renewed, since somebody follows it. */
  get followed(): readonly FollowedSvid[] {
    return this.holdings.followed(this.#followers);
  }

  /** Counts a call in, and what it follows; it is counted out when this is disposed of. */
  enter(follower?: Follower): Disposable {
    this.#calls += 1;
    if (follower !== undefined) this.#followers.add(follower);
    return {
      [Symbol.dispose]: () => {
        this.#calls -= 1;
        if (follower !== undefined) this.#followers.remove(follower);
        this.#left();
      },
    };
  }

  /** Where the process lives, as far as it was found out. */
  get context(): Context {
    return this.#abode.context;
  }

  /** Notes where a process lives of which an agent before this one has found it out. */
  livesIn(context: Context): void {
    this.#abode.found(context);
  }

  /**
   * Notes what a call has found the process entitled to, which may be something else than its streams were told.
   *
   * @throws MayflyError `NO_IDENTITY` when the process is in another container, pod or unit than before, or in one that is over
   */
  found({ attested, entries }: Entitled): void {
    this.#abode.found(attested.context);
    this.mustLast();
    if (this.#followers.any && this.#entries !== undefined && this.#entries !== entries) void this.refresh();
  }

  /** @throws MayflyError the reason why the workload is over, when it is */
  mustLast(): void {
    if (this.#ended !== undefined) throw endError(this.#ended, this.#instance);
  }

  /**
   * Runs one at a time: who asks while one runs shares the next.
   *
   * @throws never: what cannot be issued is retried, told in the log, and seen by those who wait for a first update
   */
  refresh(): Promise<void> {
    return this.#refreshing.ask();
  }

  /**
   * Refreshes, so that there is something to follow.
   *
   * @param kind what is waited for: SVIDs of a kind, or bundles alone
   * @param entries of which
   * @param enough whether an update has it
   * @returns what to follow from here on. It may have ended meanwhile; whoever took the channel's newest would wait for ever
   * @throws MayflyError for a caller that waits for its first update and does not get it
   */
  async first<U>(
    channel: Channel<U>,
    kind: FollowedKind | 'bundles',
    entries: readonly Entry[],
    enough: (update: U) => boolean = () => true,
  ): Promise<Latest<U>> {
    const there = ({ latest }: Channel<U>) => latest.value !== undefined && enough(latest.value);
    await this.refresh();
    // What came to nothing may have been overtaken: by an entry that changed while its certificate was being signed.
    if (!there(channel)) await this.#refreshing.next;
    if (there(channel)) return channel.latest;
    this.mustLast();
    const failure = kind === 'bundles' ? undefined : this.holdings.failureOf(kind, entries);
    throw this.#failure ?? failure ?? new MayflyError('AUTHORITY_UNAVAILABLE', 'nothing could be issued');
  }

  /** Tells followers in this very turn of something that has ended, if there is anybody. */
  tellAtOnce(): void {
    const { wit, x509 } = this.updates;
    if (x509.latest.value !== undefined || wit.latest.value !== undefined) this.#tell(this.entries);
  }

  /** What the newest refresh has found the process entitled to. */
  get entries(): readonly Entry[] {
    return this.#entries ?? [];
  }

  bundlesFor(entries: readonly Entry[]): BundleUpdate {
    return this.#parts.bundles.of(entries);
  }

  /** Ends everything, for good. Keys are dropped, streams end with the reason's error. */
  end(reason: LeaseEnd): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#alarm?.cancel();
    this.#abode.leave();
    this.holdings.end(reason);
    this.updates.end(endError(reason, this.#instance));
    this.#release();
    this.#on.end();
  }

  async #refreshOnce(): Promise<void> {
    if (this.#ended !== undefined) return;
    try {
      if (!this.#followers.renewing) this.#endExpired();
      const entitled = await this.#look.now();
      this.mustLast();
      this.#abode.found(entitled.attested.context);
      this.mustLast();
      this.#unknown = undefined;
      this.#entries = entitled.entries;
      this.holdings.keepOnly(entitled.entries);
      await this.holdings.issueDue(entitled, this.#followers);
      this.mustLast();
      this.#publish(entitled.entries);
      this.#failure = undefined;
    } catch (error) {
      this.#failure = error;
      if (this.#ended !== undefined) return;
      if (isMayflyError(error, 'NO_IDENTITY') || isMayflyError(error, 'CALLER_UNKNOWN')) {
        this.#unknown = undefined;
        this.holdings.keepOnly([]);
        this.updates.end(error);
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
    const count = (this.#unknown?.count ?? 0) + 1;
    this.#unknown = { error, count, retryAt: now + retryDelay(count, this.holdings.shortest(now), random()) };
    this.holdings.postpone(this.#unknown, this.#followers);
  }

  /** Tells followers, if what they have been told is no longer so. */
  #publish(entries: readonly Entry[]): void {
    this.updates.bundles.tell(this.bundlesFor(entries));
    this.#tell(entries);
  }

  #tell(entries: readonly Entry[]): void {
    const certificates = this.holdings.delivered(entries, ({ x509 }) => x509);
    if (certificates.length > 0) this.updates.x509.tell({ svids: certificates, ...this.bundlesFor(entries) });
    else this.updates.x509.end(() => this.whyNone('x509', entries));
    const wits = this.holdings.delivered(entries, ({ wit }) => wit);
    if (wits.length > 0) this.updates.wit.tell({ svids: wits });
    else this.updates.wit.end(() => this.whyNone('wit', entries));
  }

  /** Why whoever follows has no SVID of a kind, of any of these entries, any more. */
  whyNone(kind: FollowedKind, entries: readonly Entry[]): MayflyError {
    const failure = this.holdings.failureOf(kind, entries);
    const lost = !this.holdings.haveAny(entries);
    if (lost || isMayflyError(failure, 'POLICY_REFUSED') || isMayflyError(failure, 'REISSUE_BARRED')) {
      return new MayflyError('NO_IDENTITY', `process ${this.#instance.pid} has lost its identity`, { cause: failure });
    }
    return new MayflyError('AUTHORITY_UNAVAILABLE', 'everything that was issued expired before it was renewed');
  }

  #left(): void {
    if (this.#ended !== undefined) return;
    this.#schedule();
    if (this.idle) this.#on.idle();
  }

  /** Sets the one alarm to whatever comes first: a retry, a renewal that somebody waits for, or an expiry. */
  #schedule(): void {
    this.#alarm?.cancel();
    const { clock, entitlement } = this.#parts;
    const { renewing } = this.#followers;
    const inUse = this.#calls > 0;
    const next = Math.min(
      // What the process is entitled to comes before what is due for it.
      this.#unknown?.retryAt ?? this.holdings.nextDue(this.#followers),
      renewing ? Number.POSITIVE_INFINITY : this.holdings.nextExpiry(inUse),
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
    this.holdings.endExpired(this.#parts.clock.now(), this.#calls > 0);
  }
}

function endError(reason: LeaseEnd, instance: ProcessInstance): MayflyError {
  return reason === 'shutdown'
    ? new MayflyError('SHUTTING_DOWN', 'the agent is stopping')
    : new MayflyError('NO_IDENTITY', `process ${instance.pid} ${whyEnded(reason)}`);
}
