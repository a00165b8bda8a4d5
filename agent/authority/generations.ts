/**
 * When keys follow one another, as a pure function of the keys and the time.
 *
 * A line is the keys of one use, in the order in which they were made. The order, and not their dates, says which came later: a
 * clock that was wrong once has put wrong dates on keys, and may do so again.
 */

/** One key of a line. Times in milliseconds since the epoch. */
export interface Generation {
  /** Subject key id (hex) or `kid`. */
  readonly id: string;
  readonly createdAt: number;
  readonly notBefore: number;
  readonly notAfter: number;
  /** False while it is only prepared: verifiers learn of it, and it signs nothing. */
  readonly activated: boolean;
}

/** What the function needs to know of the world beside the line. */
export interface Conditions<G extends Generation> {
  readonly now: number;
  /** True for a key that does not fit the configuration any more and is to be followed early. */
  readonly outdated: (generation: G) => boolean;
}

/** Conditions for keys that verifiers must know before the first signature reaches them. */
export interface PublishedConditions<G extends Generation> extends Conditions<G> {
  /** True once every verifier that refreshes as told has had the time to learn of it. */
  readonly known: (generation: G) => boolean;
  readonly create: () => G;
}

/** A line that is in order at a time. */
export interface InOrder<G extends Generation> {
  readonly line: readonly G[];
  /** The one that signs. */
  readonly active: G;
  /** When the clock alone will have changed something: milliseconds since the epoch. */
  readonly lookAgainAt: number;
  /** True when the successor could take over, were it but known long enough. */
  readonly awaitsPublication: boolean;
}

// A key's life: the successor is published at 1/2, signs from 2/3, and the last third is for what was signed before that to expire.
const PREPARE_AT = 1 / 2;
const ACTIVATE_AT = 2 / 3;
// A successor that is shorter-lived than its predecessor would itself grow old waiting: it signs from 1/3 of its own life on.
const ACTIVATE_AT_OWN = 1 / 3;
// An issuing CA is prepared this long before it is to sign, or this part of its life before: three times what its list is then given
// to be out first, since making it may have to be tried more than once.
const PREPARE_AHEAD_MS = 30_000;
const PREPARE_AHEAD = 1 / 8;

/** True while `now` is within the key's validity. */
export function isValid(generation: Generation, now: number): boolean {
  return generation.notBefore <= now && now < generation.notAfter;
}

/**
 * Brings a line of published keys (roots, JWT keys) in order: drops what has expired, prepares a successor, lets it take over.
 *
 * Only where no key is valid (the first start, a machine that slept too long, a clock that jumped) does a new one sign at once:
 * verifiers that lag refuse it until they refresh, and without it they would get nothing.
 */
export function orderPublished<G extends Generation>(
  line: readonly G[],
  conditions: PublishedConditions<G>,
): InOrder<G> {
  const { now, outdated, known, create } = conditions;
  const kept = withoutExpired(line, now);
  const active = kept.findLast((generation) => generation.activated && isValid(generation, now));
  const later = active === undefined ? kept : kept.slice(kept.indexOf(active) + 1);
  const successor = later.findLast((each) => !each.activated && isValid(each, now) && !outdated(each));

  if (active === undefined) {
    const fresh = successor ?? create();
    const rest = kept.filter((generation) => generation !== fresh);
    const activated = { ...fresh, activated: true };
    // What just began to sign is at the start of its life, or an old successor: look once more with it in place.
    return orderPublished([...rest, activated], conditions);
  }
  if (successor === undefined) {
    const prepareAt = outdated(active) ? now : atPart(active, PREPARE_AT);
    if (now >= prepareAt) return orderPublished([...kept, { ...create(), activated: false }], conditions);
    return inOrder(kept, active, prepareAt, false);
  }
  const activateAt = outdated(active) ? now : Math.min(atPart(active, ACTIVATE_AT), atPart(successor, ACTIVATE_AT_OWN));
  if (now < activateAt) return inOrder(kept, active, activateAt, false);
  if (!known(successor)) return inOrder(kept, active, Number.POSITIVE_INFINITY, true);
  const activated = { ...successor, activated: true };
  return orderPublished(
    kept.map((generation) => (generation === successor ? activated : generation)),
    conditions,
  );
}

/** A line that is continued no more: what it has signed can be verified until its keys expire, and nothing is signed any longer. */
export function retiring<G extends Generation>(
  line: readonly G[],
  now: number,
): Omit<InOrder<G>, 'active'> & { readonly active: undefined } {
  const kept = withoutExpired(line, now);
  const lookAgainAt = Math.min(...kept.map(({ notAfter }) => notAfter));
  return { line: kept, active: undefined, lookAgainAt, awaitsPublication: false };
}

/**
 * Conditions for keys whose certificate travels with what they sign. Verifiers need not know them, but a verifier that checks
 * revocation needs their list first.
 */
export interface ChainedConditions<G extends Generation> extends Conditions<G> {
  /** The lifetime of a new one, in milliseconds. */
  readonly ttl: number;
  /** Nothing outlives the key that signs it: milliseconds since the epoch. */
  readonly issuerNotAfter: number;
  /** True once every verifier that is told of lists has had the time to take over its own. */
  readonly known: (generation: G) => boolean;
  readonly create: (notAfter: number) => G;
}

/**
 * Brings a line of issuing CAs in order: a new one is prepared in time to sign when half a lifetime is left, so that leaves of up to
 * half its lifetime always fit; earlier CAs stay for as long as something they signed may be valid.
 *
 * Only where none is valid does a new one sign at once: verifiers without its list refuse what it signs until they have that, and
 * without it they would get nothing.
 */
export function orderChained<G extends Generation>(line: readonly G[], conditions: ChainedConditions<G>): InOrder<G> {
  const { now, ttl, issuerNotAfter, outdated, known, create } = conditions;
  const kept = withoutExpired(line, now);
  const active = kept.findLast((generation) => generation.activated && isValid(generation, now));
  const later = active === undefined ? kept : kept.slice(kept.indexOf(active) + 1);
  const successor = later.findLast((each) => !each.activated && isValid(each, now) && !outdated(each));
  // Whole seconds, as certificates have them: a new one must be longer than the old one, or it would be followed at once.
  const notAfter = wholeSeconds(Math.min(now + ttl, issuerNotAfter));

  if (active === undefined) {
    const fresh = successor ?? create(notAfter);
    const rest = kept.filter((generation) => generation !== fresh);
    return orderChained([...rest, { ...fresh, activated: true }], conditions);
  }
  if (successor !== undefined) {
    if (!known(successor)) return inOrder(kept, active, Number.POSITIVE_INFINITY, true);
    return orderChained(
      kept.map((generation) => (generation === successor ? { ...successor, activated: true } : generation)),
      conditions,
    );
  }
  if (!outdated(active)) {
    const prepareAt = active.notAfter - ttl / 2 - Math.min(PREPARE_AHEAD_MS, ttl * PREPARE_AHEAD);
    if (now < prepareAt) return inOrder(kept, active, prepareAt, false);
    // Under the same root a new one may not last longer; the next root, once it signs, gives it more.
    if (notAfter <= active.notAfter) return inOrder(kept, active, Number.POSITIVE_INFINITY, false);
  }
  return orderChained([...kept, { ...create(notAfter), activated: false }], conditions);
}

/** Cuts a time to the second, as X.509 and JWT have it. */
export function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}

function inOrder<G extends Generation>(
  line: readonly G[],
  active: G,
  nextStepAt: number,
  awaitsPublication: boolean,
): InOrder<G> {
  const firstExpiry = Math.min(...line.map(({ notAfter }) => notAfter));
  return { line, active, lookAgainAt: Math.min(nextStepAt, firstExpiry), awaitsPublication };
}

function withoutExpired<G extends Generation>(line: readonly G[], now: number): readonly G[] {
  return line.filter(({ notAfter }) => now < notAfter);
}

function atPart(generation: Generation, part: number): number {
  return generation.createdAt + (generation.notAfter - generation.createdAt) * part;
}
