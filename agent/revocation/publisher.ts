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
  /** Bytes a second, over all streams. */
  readonly maxPushRate: number;
}

// Under churn no more lists than this are signed, even where nobody follows.
const LEAST_GAP_MS = 20;

/** When something last went out to the followers of one `Latest`, and what it cost. */
interface Sent {
  readonly at: number;
  readonly bytes: number;
}

const NEVER_SENT: Sent = { at: Number.NEGATIVE_INFINITY, bytes: 0 };

/**
 * Tells followers of new lists. The first change after a quiet time goes out at once, with all that happens in the same turn of the
 * event loop; under churn changes are gathered for as long as it takes to send what went out before at the rate that is allowed. Lists
 * are whole: whoever is slow gets the newest.
 */
export class Publisher {
  /** For those who only verify: as fast as the rate allows. */
  readonly forBundles = new Latest<PublishedLists>();
  /** For clients that reload files and TLS contexts at each message: in the interval. */
  readonly forSvids = new Latest<PublishedLists>();
  readonly #clock: Clock;
  readonly #lists: () => PublishedLists;
  #pace: Pace;
  #bundlesSent = NEVER_SENT;
  #svidsSent = NEVER_SENT;
  #bundlesAlarm: Alarm | undefined;
  #svidsAlarm: Alarm | undefined;
  /** When the oldest revocation was made that is in no published list yet; on the monotonic clock. */
  #revokedAt: number | undefined;
  #pushes = 0;
  #lastDelay = 0;
  #closed = false;

  /** @param lists signs what has changed, and says what is to be given out */
  constructor(pace: Pace, clock: Clock, lists: () => PublishedLists) {
    this.#pace = pace;
    this.#clock = clock;
    this.#lists = lists;
  }

  /** How often lists were published. */
  get pushes(): number {
    return this.#pushes;
  }

  /** How long the newest publication let the first of its revocations wait, in milliseconds. */
  get lastDelayMs(): number {
    return this.#lastDelay;
  }

  configure(pace: Pace): void {
    this.#pace = pace;
    if (this.#bundlesAlarm !== undefined) this.#planBundles();
    if (this.#svidsAlarm !== undefined) this.#planSvids();
  }

  /** Something was revoked. */
  revoked(): void {
    this.#revokedAt ??= this.#clock.monotonic();
    this.changed();
  }

  /** The lists have changed in a way that nobody waits for. */
  changed(): void {
    if (this.#bundlesAlarm === undefined) this.#planBundles();
  }

  /** Tells everybody at once, whatever the pace: what verifiers have would not do any more. */
  publishNow(): void {
    if (this.#closed) return;
    // Counted first: whoever was just told does not wait for the next yet.
    const followers = this.forBundles.followers;
    this.#publish();
    this.#publishForSvids(followers);
  }

  close(): void {
    this.#closed = true;
    this.#bundlesAlarm?.cancel();
    this.#svidsAlarm?.cancel();
  }

  #planBundles(): void {
    if (this.#closed) return;
    this.#bundlesAlarm?.cancel();
    this.#bundlesAlarm = this.#in(this.#wait(this.#bundlesSent, LEAST_GAP_MS), () => {
      this.#publish();
      if (this.#svidsAlarm === undefined) this.#planSvids();
    });
  }

  #planSvids(): void {
    this.#svidsAlarm?.cancel();
    const wait = this.#wait(this.#svidsSent, this.#pace.x509SvidInterval);
    this.#svidsAlarm = this.#in(wait, () => this.#publishForSvids(this.forBundles.followers));
  }

  #publish(): void {
    this.#bundlesAlarm?.cancel();
    this.#bundlesAlarm = undefined;
    const now = this.#clock.monotonic();
    if (this.#revokedAt !== undefined) this.#lastDelay = now - this.#revokedAt;
    this.#revokedAt = undefined;
    const lists = this.#lists();
    this.#bundlesSent = { at: now, bytes: costOf(lists, this.forBundles, this.forSvids.followers) };
    this.#pushes += 1;
    this.forBundles.set(lists);
  }

  #publishForSvids(others: number): void {
    this.#svidsAlarm?.cancel();
    this.#svidsAlarm = undefined;
    const lists = this.forBundles.value;
    if (lists === undefined || lists === this.forSvids.value) return;
    this.#svidsSent = { at: this.#clock.monotonic(), bytes: costOf(lists, this.forSvids, others) };
    this.forSvids.set(lists);
  }

  #wait({ at, bytes }: Sent, least: number): number {
    const gap = Math.max(least, (bytes / this.#pace.maxPushRate) * 1000);
    return at + gap - this.#clock.monotonic();
  }

  /** Where there is nothing to wait for, at the end of this turn: processes end together. */
  #in(ms: number, run: () => void): Alarm {
    if (ms > 0) return this.#clock.after(ms, run);
    const turn = setImmediate(run);
    return { cancel: () => clearImmediate(turn) };
  }
}

/** Each of the two has half the rate while the other has followers too, so that many slow streams hold up no fast one. */
function costOf({ crls }: PublishedLists, to: Latest<PublishedLists>, others: number): number {
  const bytes = crls.reduce((sum, { length }) => sum + length, 0) * Math.max(1, to.followers);
  return others > 0 ? 2 * bytes : bytes;
}
