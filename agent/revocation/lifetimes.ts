import type { Clock } from '../kernel/clock.ts';
import { KEPT_AFTER_MS } from './lists.ts';

/** The budget of the lists. */
export interface Budget {
  /** Of the lists together. */
  readonly maxBytes: number;
  /** Nothing is shortened below this, in milliseconds. */
  readonly minX509SvidTtl: number;
}

/** Whose certificates are measured together: an entry's, and of a template those of one identity, so that others do not pay for it. */
export interface Subject {
  readonly entryId: string;
  readonly spiffeId: string;
}

/** Certificates that are shortened, for `status`. */
export interface Shortened extends Subject {
  /** Of processes up to this age when they are given one, in milliseconds; 0 for those that have just come. */
  readonly ageMs: number;
  readonly deathsPerSecond: number;
  readonly lifetimeMs: number;
}

/** How a certificate came on a list: its process died, or it was withdrawn from one that lives. */
export type Listing = 'died' | 'withdrawn';

/** A subject's certificates that were issued to processes of about the same age. */
interface Class {
  readonly subject: Subject;
  readonly bucket: number;
  /** Deaths, each counting for less with time: divided by {@link TAU_MS} they are a rate. */
  deaths: number;
  /** Of that count, and of the last use: on the monotonic clock. */
  at: number;
  /** How many of its certificates are on a list now. */
  listed: number;
  /** The longest lifetime that was asked for last. */
  asked: number;
  readonly dropped: () => void;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;

// Up to which age a process is of which bucket. Those in the first have just come, and nobody knows yet how long they stay.
const AGES = [SECOND, MINUTE, 10 * MINUTE, 60 * MINUTE, Number.POSITIVE_INFINITY] as const;
const TAU_MS = 10 * SECOND;
// A serial of 17 bytes, a time and a reason.
const ENTRY_BYTES = 50;
// How long a share of the budget is taken to be right, and after how long a class that nobody asks for is looked at.
const LEVEL_MS = 50;
const IDLE_MS = MINUTE;
const SILENT = 0.01;

/**
 * Keeps the revocation lists small: who dies young gets short certificates. Deaths a second times lifetime is what a list grows to; where
 * that would outgrow the budget, the lifetimes of those that ask for most of it shrink until it fits, and nobody else's do.
 *
 * What is measured and bounded is the certificates of one identity of one entry that were issued at about the same age of their processes. A process
 * that lives on comes to an age at which few of its kind die, and earns a longer lifetime there.
 */
export class Lifetimes {
  readonly #clock: Clock;
  readonly #listedBytes: () => number;
  readonly #classes = new Map<string, Class>();
  #budget: Budget;
  #level = Number.POSITIVE_INFINITY;
  #levelAt = Number.NEGATIVE_INFINITY;
  #sweptAt = Number.NEGATIVE_INFINITY;

  /** @param listedBytes the size of what is on the lists now */
  constructor(budget: Budget, clock: Clock, listedBytes: () => number) {
    this.#budget = budget;
    this.#clock = clock;
    this.#listedBytes = listedBytes;
  }

  /** How many kinds of certificates are watched. */
  get classes(): number {
    return this.#classes.size;
  }

  configure(budget: Budget): void {
    this.#budget = budget;
    this.#levelAt = Number.NEGATIVE_INFINITY;
  }

  /**
   * How much of a lifetime the budget leaves, in milliseconds.
   *
   * @param ageMs of the process that asks
   */
  bound(subject: Subject, ageMs: number, askedMs: number): number {
    const found = this.#of(subject, ageMs);
    this.#decay(found);
    found.asked = askedMs;
    return this.#lifetime(found, askedMs);
  }

  /**
   * Notes that a certificate came on a list.
   *
   * @param ageMs of its process when it was issued
   * @returns to be called once it is on no list any more
   */
  listed(subject: Subject, ageMs: number, how: Listing): () => void {
    const found = this.#of(subject, ageMs);
    this.#decay(found);
    if (how === 'died') found.deaths += 1;
    found.listed += 1;
    return found.dropped;
  }

  /** What is shortened now, the shortest first. */
  status(): readonly Shortened[] {
    const shortened: Shortened[] = [];
    for (const each of this.#classes.values()) {
      this.#decay(each);
      const { asked, bucket, deaths, subject } = each;
      const lifetimeMs = this.#lifetime(each, asked);
      if (lifetimeMs >= asked) continue;
      const ageMs = bucket === 0 ? 0 : (AGES[bucket] ?? 0);
      shortened.push({ ...subject, ageMs, deathsPerSecond: (deaths / TAU_MS) * SECOND, lifetimeMs });
    }
    return shortened.sort((a, b) => a.lifetimeMs - b.lifetimeMs);
  }

  #lifetime(each: Class, asked: number): number {
    const level = this.#currentLevel();
    if (demandOf(each) <= level) return asked;
    const { maxBytes, minX509SvidTtl } = this.#budget;
    // Listed certificates are what a rate does not know of: a crowd that comes and dies once an hour.
    if (this.#listedBytes() > maxBytes) return Math.min(asked, minX509SvidTtl);
    const left = (level * TAU_MS) / (each.deaths * ENTRY_BYTES) - KEPT_AFTER_MS;
    return Math.min(asked, Math.max(minX509SvidTtl, Math.floor(left)));
  }

  /**
   * Up to which demand a class has what it asks for; those that want more share what is left. Found as water finds its level: the
   * smallest are served first, each getting no more than an equal part of the rest.
   */
  #currentLevel(): number {
    const now = this.#clock.monotonic();
    if (now - this.#levelAt < LEVEL_MS) return this.#level;
    this.#levelAt = now;
    this.#forgetIdle(now);
    const demands: number[] = [];
    for (const each of this.#classes.values()) {
      this.#decay(each);
      const demand = demandOf(each);
      if (demand > 0) demands.push(demand);
    }
    demands.sort((a, b) => a - b);
    let rest = this.#budget.maxBytes;
    this.#level = Number.POSITIVE_INFINITY;
    for (const [index, demand] of demands.entries()) {
      const share = rest / (demands.length - index);
      if (demand > share) {
        this.#level = share;
        break;
      }
      rest -= demand;
    }
    return this.#level;
  }

  #of({ entryId, spiffeId }: Subject, ageMs: number): Class {
    const bucket = AGES.findIndex((age) => ageMs < age);
    const key = `${bucket}/${entryId}/${spiffeId}`;
    const known = this.#classes.get(key);
    if (known !== undefined) return known;
    const made: Class = {
      subject: { entryId, spiffeId },
      bucket,
      deaths: 0,
      at: this.#clock.monotonic(),
      listed: 0,
      asked: 0,
      dropped: () => {
        made.listed -= 1;
      },
    };
    this.#classes.set(key, made);
    return made;
  }

  #decay(each: Class): void {
    const now = this.#clock.monotonic();
    if (now === each.at) return;
    each.deaths *= Math.exp((each.at - now) / TAU_MS);
    if (each.deaths < SILENT) each.deaths = 0;
    each.at = now;
  }

  #forgetIdle(now: number): void {
    if (now - this.#sweptAt < IDLE_MS) return;
    this.#sweptAt = now;
    for (const [key, each] of this.#classes) {
      this.#decay(each);
      if (each.deaths === 0 && each.listed === 0) this.#classes.delete(key);
    }
  }
}

/** What a class would take of the lists with the lifetime that is asked for, or takes already, in bytes. */
function demandOf({ asked, deaths, listed }: Class): number {
  return Math.max((deaths / TAU_MS) * (asked + KEPT_AFTER_MS), listed) * ENTRY_BYTES;
}
