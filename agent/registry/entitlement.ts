import type { Attested } from '../attest/attestor.ts';
import type { Clock } from '../kernel/clock.ts';
import { MayflyError } from '../kernel/errors.ts';
import type { Latest } from '../kernel/latest.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Entry } from './entry.ts';
import type { EntrySet } from './entry-set.ts';

/** A process, what was found true of it, and the entries that entitles it to: at least one, by id. */
export interface Entitled {
  readonly attested: Attested;
  readonly entries: readonly [Entry, ...Entry[]];
}

/** Who is asked what a process is. */
export interface Attesting {
  /** What was found a moment ago and cannot have changed; `undefined` when the process must be looked at again. */
  current(instance: ProcessInstance): Attested | undefined;
  /** @throws MayflyError `ATTESTATION_FAILED`, `CALLER_UNKNOWN`, `OVERLOADED` */
  attest(instance: ProcessInstance): Promise<Attested>;
}

/** Joins attestation and entries. What was joined is remembered for as long as neither has changed. */
export class Entitlement {
  readonly #attesting: Attesting;
  readonly #entries: Latest<EntrySet>;
  readonly #clock: Clock;
  readonly #known = new WeakMap<Attested, { set: EntrySet; since: number; until: number; entitled: Entitled }>();

  constructor(attesting: Attesting, entries: Latest<EntrySet>, clock: Clock) {
    this.#attesting = attesting;
    this.#entries = entries;
    this.#clock = clock;
  }

  /** What a process is entitled to, where that can be said at once; `undefined` says nothing. */
  current(instance: ProcessInstance): Entitled | undefined {
    const attested = this.#attesting.current(instance);
    return attested === undefined ? undefined : this.#match(attested);
  }

  /**
   * Attests a process and finds its entries.
   *
   * @throws MayflyError `NO_IDENTITY` when none matches, and what attestation throws
   */
  async of(instance: ProcessInstance): Promise<Entitled> {
    const entitled = this.#match(await this.#attesting.attest(instance));
    if (entitled === undefined) {
      throw new MayflyError('NO_IDENTITY', `no entry matches process ${instance.pid} of uid ${instance.uid}`);
    }
    return entitled;
  }

  /** What was found true of a process a moment ago, whether an entry matches or not. */
  attested(instance: ProcessInstance): Attested | undefined {
    return this.#attesting.current(instance);
  }

  /** When the next of all entries expires after `now`. */
  nextExpiry(now: number): number | undefined {
    return this.#entries.value?.nextExpiry(now);
  }

  #match(attested: Attested): Entitled | undefined {
    const set = this.#entries.value;
    const now = this.#clock.now();
    const known = this.#known.get(attested);
    // Set back, the clock may be where an entry had not expired yet.
    if (known !== undefined && known.set === set && now >= known.since && now < known.until) return known.entitled;
    const [first, ...rest] = set?.match(attested.selectors, now) ?? [];
    if (set === undefined || first === undefined) return undefined;
    const entitled: Entitled = { attested, entries: [first, ...rest] };
    this.#known.set(attested, { set, since: now, until: set.nextExpiry(now) ?? Number.POSITIVE_INFINITY, entitled });
    return entitled;
  }
}
