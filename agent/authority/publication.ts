import { X509Certificate } from 'node:crypto';
import type { Clock } from '../kernel/clock.ts';
import { Latest } from '../kernel/latest.ts';
import type { CrlTerms } from '../svid/crl.ts';
import { signCrl } from '../svid/crl.ts';
import type { TokenAuthority, TrustBundle } from '../svid/trust-bundle.ts';
import type { CrlCoverage, CrlIssuer } from './authority.ts';
import type { Keys } from './key-file.ts';
import type { IssuingKey, RootKey, TokenKey } from './keys.ts';
import type { KeyPolicy } from './rotation.ts';

const MAX_REFRESH_HINT_S = 300;
// A successor signs a sixth of a life after its publication, and a verifier that refreshes as told has asked twice by then.
const REFRESHES_PER_LIFE = 12;
const REFRESHES_UNTIL_KNOWN = 2;
// Lists are pushed, not fetched: this is for the way to a verifier's own memory, which may lead over files and other programs.
const LISTED_AFTER_MS = 10_000;
const LISTED_AFTER = 1 / 24;

/** What verifiers have been told of an authority's keys, and for how long: keys that they trust, and CAs that have a list. */
export class Publication {
  readonly bundle = new Latest<TrustBundle>();
  readonly crls = new Latest<CrlCoverage>();
  /** How often verifiers are told to refresh, in milliseconds. */
  readonly refreshMs: number;
  readonly #policy: KeyPolicy;
  readonly #clock: Clock;
  // On the monotonic clock and from the start of this process: verifiers learn nothing from a clock step, from time that the
  // machine was suspended, or while there is no agent to ask.
  #knownAt: ReadonlyMap<string, number> = new Map();

  constructor(options: KeyPolicy & { readonly clock: Clock }) {
    this.#policy = options;
    this.#clock = options.clock;
    const { jwtKeyTtl, rootTtl, witKeyTtl = Number.POSITIVE_INFINITY } = options;
    const perLife = Math.min(rootTtl, jwtKeyTtl, witKeyTtl) / 1000 / REFRESHES_PER_LIFE;
    this.refreshMs = Math.max(1, Math.floor(Math.min(MAX_REFRESH_HINT_S, perLife))) * 1000;
  }

  /**
   * True once every verifier that refreshes as told has had the time to learn of the key of this id; of an issuing CA, once every one
   * that is told of lists has had the time to take over its list.
   */
  isKnown(id: string): boolean {
    return (this.#knownAt.get(id) ?? Number.POSITIVE_INFINITY) <= this.#clock.monotonic();
  }

  /** How long until the next key is known, in milliseconds; infinity when all are. */
  get untilNextKnown(): number {
    const now = this.#clock.monotonic();
    return Math.min(...this.#knownAt.values().map((at) => (at > now ? at - now : Number.POSITIVE_INFINITY)));
  }

  /** Tells followers of the keys, unless they were told already. */
  publish(keys: Keys): void {
    const { sequence, roots, issuing, jwt, wit } = keys;
    const now = this.#clock.monotonic();
    const trusted = now + this.refreshMs * REFRESHES_UNTIL_KNOWN;
    const listed = now + Math.min(LISTED_AFTER_MS, this.#policy.caTtl * LISTED_AFTER);
    this.#knownAt = new Map([
      ...[...roots, ...jwt, ...wit].map(({ id }) => [id, this.#knownAt.get(id) ?? trusted] as const),
      ...issuing.map(({ id }) => [id, this.#knownAt.get(id) ?? listed] as const),
    ]);
    this.#cover(roots, issuing);
    if (this.bundle.value?.sequence === sequence) return;
    this.bundle.set(
      Object.freeze({
        trustDomain: this.#policy.trustDomain,
        x509Authorities: Object.freeze(roots.map(({ certificate }) => certificate)),
        jwtAuthorities: Object.freeze(jwt.map(tokenAuthorityOf)),
        witAuthorities: Object.freeze(wit.map(tokenAuthorityOf)),
        sequence,
        refreshHint: this.refreshMs / 1000,
      }),
    );
  }

  /** A root has a list as well, since there are verifiers that ask for one of every CA in a chain. */
  #cover(roots: readonly RootKey[], issuing: readonly IssuingKey[]): void {
    const before = this.crls.value;
    const known = before?.complete === true ? before.issuers.map(({ id }) => id) : [];
    const ids = [...roots, ...issuing].map(({ id }) => id);
    if (known.length === ids.length && ids.every((id, index) => id === known[index])) return;
    this.crls.set(
      Object.freeze({
        complete: true,
        issuers: Object.freeze([
          ...roots.map((root) => crlIssuerOf('root', root, lastSignedBy(root, issuing))),
          ...issuing.map((ca) => crlIssuerOf('issuing-ca', ca, ca.notAfter)),
        ]),
      }),
    );
  }
}

function crlIssuerOf(use: CrlIssuer['use'], ca: RootKey | IssuingKey, signsUntil: number): CrlIssuer {
  const { id, issuer, notAfter, notBefore } = ca;
  return Object.freeze({ id, use, notBefore, notAfter, signsUntil, sign: (list: CrlTerms) => signCrl(list, issuer) });
}

/** When the last issuing CA of a root expires; of one that has none yet, or none any more, when it does itself. */
function lastSignedBy(root: RootKey, issuing: readonly IssuingKey[]): number {
  const certificate = new X509Certificate(root.certificate);
  const signed = issuing.filter((ca) => new X509Certificate(ca.certificate).checkIssued(certificate));
  return signed.length === 0 ? root.notAfter : Math.max(...signed.map(({ notAfter }) => notAfter));
}

function tokenAuthorityOf({ id, jwk, key, notAfter }: TokenKey): TokenAuthority {
  return Object.freeze({
    kid: id,
    jwk: Object.freeze({ ...jwk, kid: id, alg: key.algorithm.jws }),
    expiresAt: notAfter,
  });
}
