import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Authority, CrlCoverage } from '../authority/authority.ts';
import type { Alarm, Clock } from '../kernel/clock.ts';
import type { Latest } from '../kernel/latest.ts';
import type { Log } from '../kernel/log.ts';
import type { LeaseEndReason } from '../ledger/event.ts';
import type { IssuanceLedger } from '../ledger/issuance-ledger.ts';
import type { LiveLease } from '../ledger/state.ts';
import type { RevocationReason } from '../svid/crl.ts';
import type { Bar } from './bars.ts';
import { Bars } from './bars.ts';
import { CrlNumbers } from './crl-numbers.ts';
import { Denylist } from './denylist.ts';
import type { Budget, Subject } from './lifetimes.ts';
import { Lifetimes } from './lifetimes.ts';
import { RevocationLists } from './lists.ts';
import type { RevocationObserver } from './observer.ts';
import type { Pace, PublishedLists } from './publisher.ts';
import { Publisher } from './publisher.ts';
import type { EndedLease, EndOptions } from './revocations.ts';
import { Revocations } from './revocations.ts';

/** What configuration says of revocation; all of it may change while the agent runs. */
export type RevocationConfig = Budget & Pace;

/** What revocation hangs on. */
export interface RevocationParts extends RevocationConfig {
  readonly authority: Pick<Authority, 'crls'>;
  readonly ledger: Pick<IssuanceLedger, 'state' | 'note'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly observer?: RevocationObserver | undefined;
}

// Entries that have expired cost their bytes and nothing else: lists are cleared of them this often when nothing else happens.
const CLEAR_MS = 60_000;

/** Takes identities back, and tells verifiers. */
export class Revocation {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #crls: Latest<CrlCoverage>;
  readonly #lists: RevocationLists;
  readonly #denylist: Denylist;
  readonly #lifetimes: Lifetimes;
  readonly #publisher: Publisher;
  readonly #revocations: Revocations;
  readonly #bars: Bars;
  readonly #stop = new AbortController();
  #config: RevocationConfig;
  #clearing: Alarm | undefined;

  /** Takes over what the ledger says is revoked, and publishes the first lists. */
  constructor({ authority, clock, ledger, log, observer, ...config }: RevocationParts) {
    this.#clock = clock;
    this.#log = log;
    this.#crls = authority.crls;
    this.#config = config;
    this.#lists = new RevocationLists(new CrlNumbers(ledger, clock.now()), clock);
    this.#denylist = new Denylist(clock);
    this.#lifetimes = new Lifetimes(config, clock, () => this.#lists.entryBytes);
    this.#publisher = new Publisher(
      config,
      clock,
      () => this.#signed(),
      (ms) => observer?.published(ms),
    );
    this.#revocations = new Revocations({
      ledger,
      lists: this.#lists,
      denylist: this.#denylist,
      lifetimes: this.#lifetimes,
      clock,
      revoked: () => this.#publisher.revoked(),
      observer,
    });
    this.#bars = new Bars(ledger);
    this.#cover(this.#crls.value);
    this.#clear();
    void this.#followAuthority();
  }

  /** The lists for those who only verify: a change is told as fast as the rate allows. */
  get forBundles(): Latest<PublishedLists> {
    return this.#publisher.forBundles;
  }

  /** The lists for proxies: a change is told in an interval of theirs. */
  get forProxies(): Latest<PublishedLists> {
    return this.#publisher.forProxies;
  }

  /** The lists for those who are given certificates as well: a change of the lists alone is told in the interval. */
  get forSvids(): Latest<PublishedLists> {
    return this.#publisher.forSvids;
  }

  configure(config: RevocationConfig): void {
    this.#config = config;
    this.#lifetimes.configure(config);
    this.#publisher.configure(config);
  }

  /** See {@link Revocations.end}. */
  end(lease: { readonly id: string }, reason: LeaseEndReason, options: EndOptions = {}): EndedLease {
    return this.#revocations.end(lease, reason, options);
  }

  /** See {@link Revocations.supersede}. */
  supersede(leaseId: string, by: 'serial' | 'jti', ids: readonly string[]): void {
    this.#revocations.supersede(leaseId, by, ids);
  }

  /** See {@link Revocations.revokeToken}. */
  revokeToken(jti: string, how: { readonly cause: string; readonly code: RevocationReason }): void {
    this.#revocations.revokeToken(jti, how);
  }

  /** Why a token was revoked, or `undefined` when it was not. */
  tokenRevoked(jti: string): RevocationReason | undefined {
    return this.#denylist.reasonOf(jti);
  }

  /** See {@link Bars.bar}. */
  bar(lease: LiveLease, reason: string): void {
    this.#bars.bar(lease, reason);
  }

  /** See {@link Bars.allow}. */
  allow(isMeant: (bar: Bar) => boolean, reason: string): number {
    return this.#bars.allow(isMeant, reason);
  }

  /** True of a process that must not be given an identity of an entry. */
  isBarred(
    instance: { readonly bootId: string; readonly pid: number; readonly startTime: string },
    entryId: string,
  ): boolean {
    return this.#bars.isBarred(instance, entryId);
  }

  /** See {@link Lifetimes.bound}. */
  bound(subject: Subject, ageMs: number, askedMs: number): number {
    return this.#lifetimes.bound(subject, ageMs, askedMs);
  }

  /** Signs all lists anew and tells everybody: what was out says when it was made by a clock that was wrong. */
  clockStepped(): void {
    this.#lists.outdate();
    this.#publisher.publishNow();
  }

  /** See {@link Publisher.waitingMs}. */
  get waitingMs(): number {
    return this.#publisher.waitingMs;
  }

  /** What an operator may want to know, as the admin service says it. */
  status() {
    const coverage = coverageOf(this.#crls.value);
    const signed = coverage.complete ? this.#lists.signed : [];
    return {
      givenOut: coverage.complete,
      reason: coverage.complete ? 'the authority signs a list of every CA of the trust domain' : coverage.reason,
      lists: signed.map(({ certificates, crl, issuer, nextUpdate, number, thisUpdate }) => ({
        issuer: issuer.id,
        use: issuer.use,
        number: BigInt(number),
        certificates,
        bytes: BigInt(crl.length),
        thisUpdate: timestampFromMs(thisUpdate),
        nextUpdate: timestampFromMs(nextUpdate),
      })),
      certificates: this.#lists.certificates,
      tokens: this.#denylist.size,
      bytes: BigInt(signed.reduce((sum, { crl }) => sum + crl.length, 0)),
      maxBytes: BigInt(this.#config.maxBytes),
      pushes: BigInt(this.#publisher.pushes),
      lastDelayMs: this.#publisher.lastDelayMs,
      lifetimes: this.#lifetimes.status().map(({ ageMs, deathsPerSecond, lifetimeMs, ...subject }) => ({
        ...subject,
        age: ageMs / 1000,
        deathsPerSecond,
        lifetime: lifetimeMs / 1000,
      })),
      barred: this.#bars.size,
    };
  }

  /** Publishes nothing more; what was revoked stays so, by the ledger. */
  close(): void {
    this.#stop.abort();
    this.#clearing?.cancel();
    this.#publisher.close();
  }

  async #followAuthority(): Promise<void> {
    let seen = this.#crls.value;
    for await (const coverage of this.#crls.follow(this.#stop.signal)) {
      if (coverage === seen) continue;
      seen = coverage;
      this.#cover(coverage);
    }
  }

  /** At once: until verifiers have the list of a new CA, they refuse whatever it signs. */
  #cover(told: CrlCoverage | undefined): void {
    const coverage = coverageOf(told);
    if (coverage.complete) {
      this.#lists.cover(coverage.issuers);
    } else {
      this.#log.warn('revocation.not_given_out', `revocation lists are not given out: ${coverage.reason}`);
    }
    this.#publisher.publishNow();
  }

  #signed(): PublishedLists {
    this.#lists.drop(this.#lists.entryBytes > this.#config.maxBytes);
    if (!coverageOf(this.#crls.value).complete) return { crls: [], number: 0 };
    const signed = this.#lists.sign();
    return Object.freeze({
      crls: Object.freeze(signed.map(({ crl }) => crl)),
      number: Math.max(0, ...signed.map(({ number }) => number)),
    });
  }

  #clear(): void {
    this.#denylist.drop();
    if (this.#lists.drop(false)) this.#publisher.changed();
    this.#clearing = this.#clock.after(CLEAR_MS, () => this.#clear());
  }
}

function coverageOf(coverage: CrlCoverage | undefined): CrlCoverage {
  return coverage ?? { complete: false, reason: 'the authority has not said yet which CAs there are' };
}
