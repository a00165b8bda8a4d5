import type { TrustDomain } from '../kernel/spiffe-id.ts';
import type { SigningKeyType } from '../svid/signing-key.ts';
import type { Generation } from './generations.ts';
import { orderChained, orderPublished, retiring } from './generations.ts';
import type { Keys } from './key-file.ts';
import type { IssuingKey, RootKey, TokenKey } from './keys.ts';
import { makeIssuingCa, makeRoot, makeTokenKey } from './keys.ts';

/** What configuration says of the keys. Durations in milliseconds. */
export interface KeyPolicy {
  readonly trustDomain: TrustDomain;
  readonly keyType: SigningKeyType;
  readonly rootTtl: number;
  readonly caTtl: number;
  readonly jwtKeyTtl: number;
  /** `undefined` where no WIT-SVIDs are issued: then no key is made for them, and those there are expire. */
  readonly witKeyTtl: number | undefined;
  /** Confine issuing CAs to the trust domain by a URI name constraint, which rustls refuses altogether. */
  readonly nameConstraint: boolean;
}

/** What a rotation depends on beside the keys themselves. */
export interface Moment {
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** True once verifiers know the key of this id: of an issuing CA, its list. */
  readonly known: (id: string) => boolean;
  readonly random: (bytes: number) => Buffer;
}

/** The keys as they should be at a moment. */
export interface Rotated {
  /** The very object that went in when nothing has changed. */
  readonly keys: Keys;
  readonly root: RootKey;
  readonly issuing: IssuingKey;
  readonly jwt: TokenKey;
  /** `undefined` where no WIT-SVIDs are issued. */
  readonly wit: TokenKey | undefined;
  /** When the clock alone will have changed something: milliseconds since the epoch. */
  readonly lookAgainAt: number;
  /** True when a successor only waits to be known. */
  readonly awaitsPublication: boolean;
}

/** Brings all keys in order: the root first, since an issuing CA is made under the root that signs now. */
export function rotate(keys: Keys, policy: KeyPolicy, moment: Moment): Rotated {
  const { now, random } = moment;
  const terms = { trustDomain: policy.trustDomain, keyType: policy.keyType, now, random };
  const known = (generation: Generation) => moment.known(generation.id);
  const ofOtherType = (type: SigningKeyType) => type !== policy.keyType;

  const roots = orderPublished(keys.roots, {
    now,
    known,
    outdated: (root) => ofOtherType(root.issuer.key.algorithm.keyType),
    create: () => makeRoot(terms, policy.rootTtl),
  });
  const issuing = orderChained(keys.issuing, {
    now,
    ttl: policy.caTtl,
    issuerNotAfter: roots.active.notAfter,
    known,
    outdated: (ca) => ofOtherType(ca.issuer.key.algorithm.keyType) || ca.nameConstraint !== policy.nameConstraint,
    create: (notAfter) => makeIssuingCa(terms, roots.active, notAfter, policy.nameConstraint),
  });
  const inOrder = (line: readonly TokenKey[], ttl: number) =>
    orderPublished(line, {
      now,
      known,
      outdated: (key) => ofOtherType(key.key.algorithm.keyType),
      create: () => makeTokenKey(terms, ttl),
    });
  const jwt = inOrder(keys.jwt, policy.jwtKeyTtl);
  const wit = policy.witKeyTtl === undefined ? retiring(keys.wit, now) : inOrder(keys.wit, policy.witKeyTtl);

  const unchanged =
    same(keys.roots, roots.line) &&
    same(keys.issuing, issuing.line) &&
    same(keys.jwt, jwt.line) &&
    same(keys.wit, wit.line);
  const published = sameIds(keys.roots, roots.line) && sameIds(keys.jwt, jwt.line) && sameIds(keys.wit, wit.line);
  return {
    keys: unchanged
      ? keys
      : {
          // SPIFFE Trust Domain and Bundle §4.1.1: changed whenever the bundle's contents are, and only ever upwards.
          sequence: published ? keys.sequence : keys.sequence + 1,
          roots: roots.line,
          issuing: issuing.line,
          jwt: jwt.line,
          wit: wit.line,
        },
    root: roots.active,
    issuing: issuing.active,
    jwt: jwt.active,
    wit: wit.active,
    lookAgainAt: Math.min(...[roots, issuing, jwt, wit].map(({ lookAgainAt }) => lookAgainAt)),
    awaitsPublication: [roots, issuing, jwt, wit].some(({ awaitsPublication }) => awaitsPublication),
  };
}

function same<T>(before: readonly T[], after: readonly T[]): boolean {
  return before.length === after.length && before.every((each, index) => each === after[index]);
}

/** What is active makes no difference to a verifier: only which keys there are. */
function sameIds(before: readonly Generation[], after: readonly Generation[]): boolean {
  return same(
    before.map(({ id }) => id),
    after.map(({ id }) => id),
  );
}
