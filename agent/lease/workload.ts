import type { Context } from '../attest/context.ts';
import type { Audiences } from '../kernel/audience.ts';
import { isMayflyError, MayflyError } from '../kernel/errors.ts';
import { Latest } from '../kernel/latest.ts';
import type { SpiffeId } from '../kernel/spiffe-id.ts';
import type { SvidKind } from '../ledger/event.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Entitled } from '../registry/entitlement.ts';
import type { Entry } from '../registry/entry.ts';
import type { PublishedLists } from '../revocation/publisher.ts';
import type { EndedLease, EndOptions } from '../revocation/revocations.ts';
import { EntitlementLook } from './entitlement-look.ts';
import type { KeyedSvid } from './held-svid.ts';
import type { FollowedSvid } from './holdings.ts';
import type { Inheritance, Lease, LeaseEnd } from './lease.ts';
import type { JwtSvid } from './svid.ts';
import type { BundleUpdate, Delivered, ListedX509, WitUpdate } from './updates.ts';
import type { WorkloadEvents, WorkloadParts } from './upkeep.ts';
import { Upkeep } from './upkeep.ts';

/** One process instance, and what is asked of the agent for it. {@link Upkeep} keeps what it holds in line. */
export class Workload {
  readonly instance: ProcessInstance;
  readonly #parts: WorkloadParts;
  readonly #look: EntitlementLook;
  readonly #upkeep: Upkeep;

  constructor(instance: ProcessInstance, parts: WorkloadParts, on: WorkloadEvents) {
    this.instance = instance;
    this.#parts = parts;
    this.#look = new EntitlementLook(instance, parts);
    this.#upkeep = new Upkeep(instance, this.#look, parts, on);
  }

  /** See {@link Upkeep.context}. */
  get context(): Context {
    return this.#upkeep.context;
  }

  get leases(): Iterable<Lease> {
    return this.#upkeep.holdings;
  }

  /** See {@link Upkeep.followed}. */
  get followed(): readonly FollowedSvid[] {
    return this.#upkeep.followed;
  }

  /** Takes over a lease of an agent before this one; {@link refresh} then looks whether its process is still entitled to it. */
  adopt(entry: Entry, inherited: Inheritance): void {
    this.#upkeep.holdings.adopt(entry, inherited);
    this.#upkeep.livesIn(inherited.context);
  }

  /** Ends one of the leases at once. Whoever follows is told in the same turn: by the rest, or by the end of the stream. */
  endLease(lease: Lease, reason: LeaseEnd, how: EndOptions): EndedLease {
    const ended = this.#upkeep.holdings.endOne(lease, reason, how);
    this.#upkeep.tellAtOnce();
    void this.refresh();
    return ended;
  }

  /** Notes that a client's connection took SVIDs. */
  delivered(svids: readonly KeyedSvid[]): void {
    this.#upkeep.holdings.taken(svids);
  }

  /** Has what a lease holds renewed now; what it has serves until its successor is there. */
  renewNow(lease: Lease): Promise<void> {
    lease.x509.outdate();
    lease.wit.outdate();
    return this.refresh();
  }

  /** Takes a WIT-SVID that was revoked out of a lease; whoever follows is told of its successor, or of the end. */
  async replaceWit(lease: Lease): Promise<void> {
    lease.wit.drop();
    await this.refresh();
  }

  /** See {@link Upkeep.refresh}. */
  refresh(): Promise<void> {
    return this.#upkeep.refresh();
  }

  /** See {@link Upkeep.end}. */
  end(reason: LeaseEnd): void {
    this.#upkeep.end(reason);
  }

  /**
   * A full update at once, then one at each change of what it tells.
   *
   * @throws MayflyError `NO_IDENTITY` when no entry matches, now or later; `ATTESTATION_FAILED`, `AUTHORITY_UNAVAILABLE`,
   *   `DISK_FULL`, `OVERLOADED`, `SHUTTING_DOWN`
   */
  async *x509(signal: AbortSignal): AsyncGenerator<ListedX509, void, undefined> {
    using _call = this.#upkeep.enter({ kind: 'x509' });
    const { entries } = await this.#entitleTo('x509');
    const updates = await this.#upkeep.first(this.#upkeep.updates.x509, 'x509', entries);
    for await (const [update, lists] of Latest.followBoth(updates, this.#parts.revocation.forSvids, signal)) {
      yield { update, lists };
    }
  }

  /**
   * The WIT-SVIDs of each identity, or of the one asked for: all at once, then at each change. Errors as {@link x509}; `NO_IDENTITY` also
   * when `spiffeId` is none of the caller's.
   */
  async *wit(spiffeId: SpiffeId | undefined, signal: AbortSignal): AsyncGenerator<WitUpdate, void, undefined> {
    using _call = this.#upkeep.enter({ kind: 'wit', spiffeId });
    const wanted = this.#mustHave(await this.#entitleTo('wit'), spiffeId);
    const enough = (update: WitUpdate) => selected(update, spiffeId) !== undefined;
    const updates = await this.#upkeep.first(this.#upkeep.updates.wit, 'wit', wanted, enough);
    for await (const update of updates.follow(signal)) {
      const own = selected(update, spiffeId);
      // Others' WIT-SVIDs of the same process go on.
      if (own === undefined) throw this.#upkeep.whyNone('wit', wantedEntries(this.#upkeep, spiffeId));
      yield own;
    }
  }

  /** The bundles at once, then at each change. Errors as {@link x509}; no SVID is made for it. */
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
    using _call = this.#upkeep.enter({ kind: 'bundles' });
    const { entries } = await this.#entitle();
    yield* follow(await this.#upkeep.first(this.#upkeep.updates.bundles, 'bundles', entries));
  }

  /**
   * The bundles with which this workload may have a token validated: being attested is enough for the own trust domain's.
   *
   * @throws MayflyError `ATTESTATION_FAILED`, `CALLER_UNKNOWN`, `OVERLOADED`; `AUTHORITY_UNAVAILABLE` while there is no bundle
   */
  async verifiers(): Promise<BundleUpdate> {
    using _call = this.#upkeep.enter();
    try {
      const { entries } = await this.#entitle();
      return this.#upkeep.bundlesFor(entries);
    } catch (error) {
      if (isMayflyError(error, 'NO_IDENTITY') && !this.#upkeep.ended) return this.#upkeep.bundlesFor([]);
      throw error;
    }
  }

  /** The tokens for `audiences` if all of them can be handed out again: the path of most calls, and it never waits. */
  cachedJwt(audiences: Audiences, spiffeId: SpiffeId | undefined): readonly Delivered<JwtSvid>[] | undefined {
    const entitled = this.#upkeep.ended ? undefined : this.#parts.entitlement.current(this.instance);
    if (entitled === undefined) return undefined;
    const found: Delivered<JwtSvid>[] = [];
    for (const entry of wantedEntries(entitled, spiffeId)) {
      const svid = this.#upkeep.holdings.cachedToken(entry, audiences);
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
    using _call = this.#upkeep.enter();
    const entitled = await this.#entitleTo('jwt');
    const wanted = this.#mustHave(entitled, spiffeId);
    const { attested } = entitled;
    const { holdings } = this.#upkeep;
    const settled = await Promise.allSettled(wanted.map((entry) => holdings.token(attested, entry, audiences)));
    this.#upkeep.mustLast();
    const svids = settled.filter((one) => one.status === 'fulfilled').map((one) => one.value);
    const failed = settled.find((one) => one.status === 'rejected');
    if (svids.length === 0 && failed !== undefined) throw failed.reason;
    return svids;
  }

  /** @throws MayflyError `NO_IDENTITY` when `spiffeId` is none of the caller's */
  #mustHave(entitled: Entitled, spiffeId: SpiffeId | undefined): readonly Entry[] {
    const wanted = wantedEntries(entitled, spiffeId);
    if (wanted.length > 0) return wanted;
    throw new MayflyError('NO_IDENTITY', `process ${this.instance.pid} has no identity ${spiffeId ?? ''}`);
  }

  /** {@link #entitle} for what is to be issued: that it is refused to a stranger is a decision, and recorded. */
  async #entitleTo(kind: SvidKind): Promise<Entitled> {
    try {
      return await this.#entitle();
    } catch (error) {
      const attested = this.#parts.entitlement.attested(this.instance);
      if (isMayflyError(error, 'NO_IDENTITY') && attested !== undefined) {
        this.#parts.issuer.refuseStranger(attested, kind, error.message);
      }
      throw error;
    }
  }

  /** What the process is entitled to, at a call. */
  async #entitle(): Promise<Entitled> {
    this.#upkeep.mustLast();
    const entitled = await this.#look.atCall();
    this.#upkeep.mustLast();
    this.#upkeep.found(entitled);
    return entitled;
  }
}

/** An update as one stream is told it; `undefined` when nothing in it is for that. */
function selected(update: WitUpdate, spiffeId: SpiffeId | undefined): WitUpdate | undefined {
  if (spiffeId === undefined) return update;
  const svids = update.svids.filter(({ svid }) => svid.spiffeId === spiffeId);
  return svids.length === 0 ? undefined : { svids };
}

function wantedEntries(
  { entries }: { readonly entries: readonly Entry[] },
  spiffeId: SpiffeId | undefined,
): readonly Entry[] {
  return spiffeId === undefined ? entries : entries.filter((entry) => entry.spiffeId === spiffeId);
}
