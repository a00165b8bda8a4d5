import type { Alarm, Clock } from '../kernel/clock.ts';
import { Latest } from '../kernel/latest.ts';

/** The lists that are given out together: all that a verifier of the trust domain needs, or none. */
export interface PublishedLists {
  /** DER, one of every CA. */
  readonly crls: readonly Buffer[];
  /** The highest number among them; 0 where there are none. */
  readonly number: number;
}

/** How fast lists may go out. */
export interface Pace {
  /** How often at most followers of X.509-SVIDs are told of lists alone, in milliseconds. */
  readonly x509SvidInterval: number;
  /** The same for proxies. */
  readonly sdsInterval: number;
  /** Bytes a second, over all streams. */
  readonly maxPushRate: number;
}

// Under churn no more lists than this are signed, even where nobody follows.
const LEAST_GAP_MS = 20;

/** One kind of follower: what it was told last, and when it is told next. */
class Channel {
  readonly latest = new Latest<PublishedLists>();
  readonly #clock: Clock;
  #sentAt = Number.NEGATIVE_INFINITY;
  #sentBytes = 0;
  #alarm: Alarm | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether it is to be told of something at a time that is set. */
  get planned(): boolean {
    return this.#alarm !== undefined;
  }

  /** Sets the time at which `run` is to tell it, in place of any before. */
  plan(least: number, maxPushRate: number, run: () => void): void {
    this.cancel();
    const gap = Math.max(least, (this.#sentBytes / maxPushRate) * 1000);
    this.#alarm = this.#in(this.#sentAt + gap - this.#clock.monotonic(), run);
  }

  /** @param sharing how many channels share the rate: many slow streams of one are to hold up no fast one of another */
  tell(lists: PublishedLists, sharing: number): void {
    this.cancel();
    const bytes = lists.crls.reduce((sum, { length }) => sum + length, 0);
    this.#sentAt = this.#clock.monotonic();
    this.#sentBytes = bytes * Math.max(1, this.latest.followers) * sharing;
    this.latest.set(lists);
  }

  cancel(): void {
    this.#alarm?.cancel();
    this.#alarm = undefined;
  }

  /** Where there is nothing to wait for, at the end of this turn: processes end together. */
  #in(ms: number, run: () => void): Alarm {
    if (ms > 0) return this.#clock.after(ms, run);
    const turn = setImmediate(run);
    return { cancel: () => clearImmediate(turn) };
  }
}

/**
 * Tells followers of new lists. The first change after a quiet time goes out at once, with all that happens in the same turn of the
 * event loop; under churn changes are gathered for as long as it takes to send what went out before at the rate that is allowed. Lists
 * are whole: whoever is slow gets the newest.
 */
export class Publisher {
  readonly #clock: Clock;
  readonly #lists: () => PublishedLists;
  readonly #published: ((ms: number) => void) | undefined;
  readonly #bundles: Channel;
  readonly #proxies: Channel;
  readonly #svids: Channel;
  #pace: Pace;
  /** When the oldest revocation was made that is in no published list yet; on the monotonic clock. */
  #revokedAt: number | undefined;
  #pushes = 0;
  #lastDelay = 0;
  #closed = false;

  /**
   * @param lists signs what has changed, and says what is to be given out
   * @param published told how long the first revocation in lists that go out has waited, in milliseconds
   */
  constructor(pace: Pace, clock: Clock, lists: () => PublishedLists, published?: (ms: number) => void) {
    this.#pace = pace;
    this.#clock = clock;
    this.#lists = lists;
    this.#published = published;
    this.#bundles = new Channel(clock);
    this.#proxies = new Channel(clock);
    this.#svids = new Channel(clock);
  }

  /** For those who only verify: as fast as the rate allows. */
  get forBundles(): Latest<PublishedLists> {
    return this.#bundles.latest;
  }

  /** For proxies, which make all TLS contexts anew at each list: in an interval of their own. */
  get forProxies(): Latest<PublishedLists> {
    return this.#proxies.latest;
  }

  /** For clients that reload files and TLS contexts at each message: in the interval. */
  get forSvids(): Latest<PublishedLists> {
    return this.#svids.latest;
  }

  /** How often lists were published. */
  get pushes(): number {
    return this.#pushes;
  }

  /** How long the newest publication let the first of its revocations wait, in milliseconds. */
  get lastDelayMs(): number {
    return this.#lastDelay;
  }

  /** For how long the oldest revocation has waited that is in no published list yet, in milliseconds; 0 when none does. */
  get waitingMs(): number {
    return this.#revokedAt === undefined ? 0 : this.#clock.monotonic() - this.#revokedAt;
  }

  configure(pace: Pace): void {
    this.#pace = pace;
    if (this.#bundles.planned) this.#planBundles();
    for (const channel of this.#slower) if (channel.planned) this.#plan(channel);
  }

  /** Something was revoked. */
  revoked(): void {
    this.#revokedAt ??= this.#clock.monotonic();
    this.changed();
  }

  /** The lists have changed in a way that nobody waits for. */
  changed(): void {
    if (!this.#bundles.planned) this.#planBundles();
  }

  /** Tells everybody at once, whatever the pace: what verifiers have would not do any more. */
  publishNow(): void {
    if (this.#closed) return;
    // Counted first: whoever was just told does not wait for the next yet.
    const sharing = this.#sharing;
    this.#publish(sharing);
    for (const channel of this.#slower) this.#passOn(channel, sharing);
  }

  close(): void {
    this.#closed = true;
    for (const channel of [this.#bundles, ...this.#slower]) channel.cancel();
  }

  /** Those who are told what followers of bundles have been told. */
  get #slower(): readonly Channel[] {
    return [this.#proxies, this.#svids];
  }

  get #sharing(): number {
    const followed = [this.#bundles, ...this.#slower].filter(({ latest }) => latest.followers > 0);
    return Math.max(1, followed.length);
  }

  #planBundles(): void {
    if (this.#closed) return;
    this.#bundles.plan(LEAST_GAP_MS, this.#pace.maxPushRate, () => {
      this.#publish(this.#sharing);
      for (const channel of this.#slower) if (!channel.planned) this.#plan(channel);
    });
  }

  #plan(channel: Channel): void {
    const { maxPushRate, sdsInterval, x509SvidInterval } = this.#pace;
    const least = channel === this.#proxies ? sdsInterval : x509SvidInterval;
    channel.plan(least, maxPushRate, () => this.#passOn(channel, this.#sharing));
  }

  #publish(sharing: number): void {
    const now = this.#clock.monotonic();
    const revokedAt = this.#revokedAt;
    this.#revokedAt = undefined;
    this.#pushes += 1;
    this.#bundles.tell(this.#lists(), sharing);
    if (revokedAt === undefined) return;
    this.#lastDelay = now - revokedAt;
    this.#published?.(this.#lastDelay);
  }

  #passOn(channel: Channel, sharing: number): void {
    channel.cancel();
    const lists = this.#bundles.latest.value;
    if (lists !== undefined && lists !== channel.latest.value) channel.tell(lists, sharing);
  }
}
