import type { Clock } from '../kernel/clock.ts';
import type { Revocation } from '../revocation/revocation.ts';
import type { Subscriber, Told } from './deliveries.ts';
import type { FollowedKind } from './followers.ts';
import type { Lease } from './lease.ts';
import type { Leases } from './leases.ts';

/** What a drill did to one SVID of a lease. */
export interface Drilled {
  readonly lease: Lease;
  readonly kind: FollowedKind;
  /** Its serial or `jti`; empty where the lease had none. */
  readonly oldId: string;
  /** `undefined` when there is none: nobody followed, or it could not be issued. */
  readonly newId: string | undefined;
  /** Milliseconds until it was issued, or revoked. */
  readonly ms: number;
}

/** How a stream fared in a drill. */
export interface Reached {
  readonly subscriber: Subscriber;
  /** What it was to be told: its new certificate or WIT-SVID, the end of the stream, a list with the revoked serials. */
  readonly what: 'certificate' | 'wit-svid' | 'end' | 'list';
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

/** What whoever follows SVIDs of a kind is to be told when they are renewed. */
const WHAT = { x509: 'certificate', wit: 'wit-svid' } as const satisfies Readonly<
  Record<FollowedKind, Reached['what']>
>;

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
    const before = [...table.deliveries].map((subscriber) => [subscriber, subscriber.told?.svids ?? []] as const);
    const renewed = leases.map(async (lease) => {
      const held = heldBy(lease);
      await table.renewNow(lease);
      const ms = clock.monotonic() - start;
      return held.map(({ kind, oldId }): Drilled => {
        const { currentId } = lease[kind];
        return { lease, kind, oldId, newId: currentId === oldId ? undefined : currentId, ms };
      });
    });
    const drilled = (await Promise.all(renewed)).flat();
    const reached = await Promise.all(
      drilled.flatMap(({ kind, newId, oldId }) =>
        before
          .filter(([, svids]) => newId !== undefined && svids.includes(oldId))
          .map(([follower]) => this.#reach(follower, WHAT[kind], start, signal, has(newId))),
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
    const drilled = leases.flatMap((lease) => {
      const held = heldBy(lease);
      // No bar: the process is to be given a new identity at once.
      table.end(lease, 'revoked', { code: 'superseded', cause: 'drill' });
      const ms = clock.monotonic() - start;
      return held.map(({ kind, oldId }): Drilled => ({ lease, kind, oldId, newId: undefined, ms }));
    });
    // Whatever is published from now on has what was just revoked.
    const listed = ({ lists }: Told) => lists > published;
    const gone = new Set(drilled.map(({ oldId }) => oldId));
    const reached = await Promise.all(
      before.flatMap(({ subscriber, told }) => {
        if (told.svids.some((id) => gone.has(id))) {
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

/** What of a lease is renewed and revoked; of one that has nothing with a key, the certificate that it has not. */
function heldBy(lease: Lease): readonly Pick<Drilled, 'kind' | 'oldId'>[] {
  const held = (['x509', 'wit'] as const).flatMap((kind) => {
    const oldId = lease[kind].currentId;
    return oldId === undefined ? [] : [{ kind, oldId }];
  });
  return held.length === 0 ? [{ kind: 'x509', oldId: '' }] : held;
}

function has(id: string | undefined): (told: Told) => boolean {
  return ({ svids }) => id !== undefined && svids.includes(id);
}

/** Told of what it still has, or has anew: either way without what was revoked. */
function without(gone: ReadonlySet<string>): (told: Told) => boolean {
  return ({ svids }) => svids.length > 0 && !svids.some((id) => gone.has(id));
}
