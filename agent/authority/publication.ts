import type { Clock } from '../kernel/clock.ts';
import { Latest } from '../kernel/latest.ts';
import type { JwtAuthority, TrustBundle } from '../svid/trust-bundle.ts';
import type { Keys } from './key-file.ts';
import type { JwtKey } from './keys.ts';
import type { KeyPolicy } from './rotation.ts';

const MAX_REFRESH_HINT_S = 300;
// A successor signs a sixth of a life after its publication, and a verifier that refreshes as told has asked twice by then.
const REFRESHES_PER_LIFE = 12;
const REFRESHES_UNTIL_KNOWN = 2;

/** What verifiers have been told of an authority's keys, and for how long. */
export class Publication {
  readonly bundle = new Latest<TrustBundle>();
  /** How often verifiers are told to refresh, in milliseconds. */
  readonly refreshMs: number;
  readonly #policy: KeyPolicy;
  readonly #clock: Clock;
  // On the monotonic clock and from the start of this process: verifiers learn nothing from a clock step, from time that the
  // machine was suspended, or while there is no agent to ask.
  #since: ReadonlyMap<string, number> = new Map();

  constructor(options: KeyPolicy & { readonly clock: Clock }) {
    this.#policy = options;
    this.#clock = options.clock;
    const perLife = Math.min(options.rootTtl, options.jwtKeyTtl) / 1000 / REFRESHES_PER_LIFE;
    this.refreshMs = Math.max(1, Math.floor(Math.min(MAX_REFRESH_HINT_S, perLife))) * 1000;
  }

  /** True once every verifier that refreshes as told has had the time to learn of the key of this id. */
  isKnown(id: string): boolean {
    const since = this.#since.get(id);
    return since !== undefined && this.#clock.monotonic() - since >= this.refreshMs * REFRESHES_UNTIL_KNOWN;
  }

  /** Tells followers of the keys, unless they were told already. */
  publish(keys: Keys): void {
    const { sequence, roots, jwt } = keys;
    const now = this.#clock.monotonic();
    this.#since = new Map([...roots, ...jwt].map(({ id }) => [id, this.#since.get(id) ?? now]));
    if (this.bundle.value?.sequence === sequence) return;
    this.bundle.set(
      Object.freeze({
        trustDomain: this.#policy.trustDomain,
        x509Authorities: Object.freeze(roots.map(({ certificate }) => certificate)),
        jwtAuthorities: Object.freeze(jwt.map(jwtAuthorityOf)),
        sequence,
        refreshHint: this.refreshMs / 1000,
      }),
    );
  }
}

function jwtAuthorityOf({ id, jwk, key, notAfter }: JwtKey): JwtAuthority {
  return Object.freeze({
    kid: id,
    jwk: Object.freeze({ ...jwk, kid: id, alg: key.algorithm.jws }),
    expiresAt: notAfter,
  });
}
