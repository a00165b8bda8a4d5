import type { Attested } from '../attest/attestor.ts';
import { Shortcomings } from '../attest/shortcomings.ts';
import type { Clock } from '../kernel/clock.ts';
import { MayflyError } from '../kernel/errors.ts';
import type { Latest } from '../kernel/latest.ts';
import type { Log } from '../kernel/log.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Entry } from './entry.ts';
import type { EntrySet } from './entry-set.ts';
import type { Misfit } from './renderer.ts';

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

export interface EntitlementParts {
  readonly attesting: Attesting;
  readonly entries: Latest<EntrySet>;
  readonly clock: Clock;
  /** One that takes no more than it can bear: strangers write here. */
  readonly log: Log;
}

/** What was found for one set of selectors. */
interface Found {
  readonly set: EntrySet;
  readonly since: number;
  readonly until: number;
  readonly entitled: Entitled | undefined;
  readonly misfits: readonly Misfit[];
}

const SHORTCOMINGS: Readonly<Record<Misfit['kind'], string>> = {
  'several values': 'processes get nothing of a template, since a placeholder in it has several values',
  'unusable value': 'processes get nothing of a template, since a value does not fit where its placeholder stands',
};

/** Joins attestation and entries. What was joined is remembered for as long as neither has changed. */
export class Entitlement {
  readonly #attesting: Attesting;
  readonly #entries: Latest<EntrySet>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #known = new WeakMap<Attested, Found>();
  readonly #shortcomings: Shortcomings<Misfit['kind']>;

  constructor({ attesting, clock, entries, log }: EntitlementParts) {
    this.#attesting = attesting;
    this.#entries = entries;
    this.#clock = clock;
    this.#log = log;
    this.#shortcomings = new Shortcomings(SHORTCOMINGS, clock);
  }

  /** What a process is entitled to, where that can be said at once; `undefined` says nothing. */
  current(instance: ProcessInstance): Entitled | undefined {
    const attested = this.#attesting.current(instance);
    return attested === undefined ? undefined : this.#match(attested)?.entitled;
  }

  /**
   * Attests a process and finds its entries.
   *
   * @throws MayflyError `NO_IDENTITY` when none matches, and what attestation throws
   */
  async of(instance: ProcessInstance): Promise<Entitled> {
    const found = this.#match(await this.#attesting.attest(instance));
    if (found?.entitled !== undefined) return found.entitled;
    const why = found?.misfits.map(sentence).join('; ') ?? '';
    throw new MayflyError(
      'NO_IDENTITY',
      `no entry matches process ${instance.pid} of uid ${instance.uid}${why === '' ? '' : `: ${why}`}`,
    );
  }

  /** What was found true of a process a moment ago, whether an entry matches or not. */
  attested(instance: ProcessInstance): Attested | undefined {
    return this.#attesting.current(instance);
  }

  /** When the next of all entries expires after `now`. */
  nextExpiry(now: number): number | undefined {
    return this.#entries.value?.nextExpiry(now);
  }

  /** Which processes got nothing of a template that was meant for them: one sentence each, none twice. */
  shortcomings(): readonly string[] {
    return this.#shortcomings.list();
  }

  #match(attested: Attested): Found | undefined {
    const set = this.#entries.value;
    const now = this.#clock.now();
    const known = this.#known.get(attested);
    // Set back, the clock may be where an entry had not expired yet.
    if (known !== undefined && known.set === set && now >= known.since && now < known.until) return known;
    if (set === undefined) return undefined;
    const { entries, misfits } = set.match(attested.selectors, now);
    const [first, ...rest] = entries;
    const entitled: Entitled | undefined = first && { attested, entries: [first, ...rest] };
    const until = set.nextExpiry(now) ?? Number.POSITIVE_INFINITY;
    const found: Found = { set, since: now, until, entitled, misfits };
    this.#known.set(attested, found);
    for (const misfit of misfits) this.#tell(attested.instance, misfit);
    return found;
  }

  #tell({ key, pid }: ProcessInstance, misfit: Misfit): void {
    this.#shortcomings.note(misfit.kind, `process ${pid}: ${sentence(misfit)}`);
    this.#log.warn('entries.value_refused', `process ${pid} gets nothing of a template: ${sentence(misfit)}`, {
      instance: key,
      entry: misfit.entryId,
      reason: misfit.kind,
    });
  }
}

function sentence({ entryId, message }: Misfit): string {
  return `entry ${entryId}: ${message}`;
}
