import type { Clock } from '../kernel/clock.ts';
import type { Revocation } from '../revocation/revocation.ts';
import type { Subscriber, Told } from './deliveries.ts';
import type { Lease } from './lease.ts';
import type { Leases } from './leases.ts';

/** What a drill did to one lease. */
export interface Drilled {
  readonly lease: Lease;
  readonly oldSerial: string;
  /** `undefined` when there is none: nobody followed, or it could not be issued. */
  readonly newSerial: string | undefined;
  /** Milliseconds until it was issued, or revoked. */
  readonly ms: number;
}

/** How a stream fared in a drill. */
export interface Reached {
  readonly subscriber: Subscriber;
  /** What it was to be told: its new certificate, the end of the stream, a list with the revoked serials. */
  readonly what: 'certificate' | 'end' | 'list';
  readonly told: boolean;
  /** Milliseconds from the beginning of the drill. */
  readonly ms: number;
}

/** What a drill needs of the stage and of revocation. */
export interface DrillParts {
  readonly leases: Leases;
  readonly revocation: Revocation;
  readonly clock: Clock;
}

/**
 * Rotates or revokes leases on purpose, to see that it works and how long it takes to arrive: at each stream that is concerned, until
 * HTTP/2 has taken the message off for its client.
 */
export class Drill {
  readonly #parts: DrillParts;

  constructor(parts: DrillParts) {
    this.#parts = parts;
  }

  /** @param signal how long to wait for those who are to be told */
  async rotate(
    leases: readonly Lease[],
    signal: AbortSignal,
  ): Promise<{ drilled: readonly Drilled[]; reached: readonly Reached[] }> {
    const { clock, leases: table } = this.#parts;
    const start = clock.monotonic();
    const before = [...table.deliveries].map((subscriber) => [subscriber, subscriber.told?.serials ?? []] as const);
    const drilled = await Promise.all(
      leases.map(async (lease) => {
        const oldSerial = lease.x509.current?.serial ?? '';
        await table.renewNow(lease);
        const serial = lease.x509.current?.serial;
        return {
          lease,
          oldSerial,
          newSerial: serial === oldSerial ? undefined : serial,
          ms: clock.monotonic() - start,
        };
      }),
    );
    const reached = await Promise.all(
      drilled.flatMap(({ newSerial, oldSerial }) =>
        before
          .filter(([, serials]) => newSerial !== undefined && serials.includes(oldSerial))
          .map(([follower]) => this.#reach(follower, 'certificate', start, signal, has(newSerial))),
      ),
    );
    return { drilled, reached };
  }

  /** @param signal how long to wait for those who are to be told */
  async revoke(
    leases: readonly Lease[],
    signal: AbortSignal,
  ): Promise<{ drilled: readonly Drilled[]; reached: readonly Reached[] }> {
    const { clock, leases: table, revocation } = this.#parts;
    const start = clock.monotonic();
    const before = [...table.deliveries].flatMap((subscriber) => {
      const { told } = subscriber;
      return told === undefined ? [] : [{ subscriber, told }];
    });
    const published = revocation.forBundles.value?.number ?? 0;
    const drilled = leases.map((lease) => {
      const oldSerial = lease.x509.current?.serial ?? '';
      // No bar: the process is to be given a new identity at once.
      table.end(lease, 'revoked', { code: 'superseded', cause: 'drill' });
      return { lease, oldSerial, newSerial: undefined, ms: clock.monotonic() - start };
    });
    // Whatever is published from now on has what was just revoked.
    const listed = ({ lists }: Told) => lists > published;
    const gone = new Set(drilled.map(({ oldSerial }) => oldSerial));
    const reached = await Promise.all(
      before.flatMap(({ subscriber, told }) => {
        if (told.serials.some((serial) => gone.has(serial))) {
          return [this.#reach(subscriber, 'end', start, signal, without(gone))];
        }
        return told.lists > 0 ? [this.#reach(subscriber, 'list', start, signal, listed)] : [];
      }),
    );
    return { drilled, reached };
  }

  async #reach(
    subscriber: Subscriber,
    what: Reached['what'],
    start: number,
    signal: AbortSignal,
    enough: (told: Told) => boolean,
  ): Promise<Reached> {
    const how = await subscriber.until(enough, signal);
    const ms = this.#parts.clock.monotonic() - start;
    // Whose stream ended was told so; a client that left meanwhile was to be told nothing more.
    return how === 'ended'
      ? { subscriber, what: 'end', told: true, ms }
      : { subscriber, what, told: how === 'told', ms };
  }
}

function has(serial: string | undefined): (told: Told) => boolean {
  return ({ serials }) => serial !== undefined && serials.includes(serial);
}

/** Told of what it still has, or has anew: either way without what was revoked. */
function without(gone: ReadonlySet<string>): (told: Told) => boolean {
  return ({ serials }) => serials.length > 0 && !serials.some((serial) => gone.has(serial));
}
