import type { Audiences } from '../kernel/audience.ts';
import { reuseUntil } from './rotation.ts';
import type { JwtSvid } from './svid.ts';

/** How many audience sets one lease keeps tokens for: past it the longest unused goes, and is simply signed again. */
const MOST_AUDIENCE_SETS = 64;

/** The tokens of one lease by sorted audience set, each handed out again until half its life is over. */
export class Tokens {
  readonly #byAudiences = new Map<string, JwtSvid>();
  readonly #underWay = new Map<string, Promise<JwtSvid>>();
  #issued = 0;
  #lastExpiry = 0;

  /** How many tokens were ever issued. */
  get issued(): number {
    return this.#issued;
  }

  /** When the last of all issued tokens expires, those no longer kept included; 0 when there was none. */
  get lastExpiry(): number {
    return this.#lastExpiry;
  }

  /** The token for these audiences, if one may still be handed out at `now`. */
  current(audiences: Audiences, now: number): JwtSvid | undefined {
    const key = keyOf(audiences);
    const svid = this.#byAudiences.get(key);
    if (svid === undefined) return undefined;
    // A token from the future means that the clock was set back: its receivers would refuse it.
    const usable = now >= svid.issuedAt && now < reuseUntil(svid.issuedAt, svid.expiresAt);
    if (!usable) return undefined;
    if (this.#byAudiences.size > 1) {
      this.#byAudiences.delete(key);
      this.#byAudiences.set(key, svid);
    }
    return svid;
  }

  /** Issues through `issue`, once for all who ask for the same audiences meanwhile. */
  async issue(audiences: Audiences, issue: () => Promise<JwtSvid>): Promise<JwtSvid> {
    const key = keyOf(audiences);
    const joined = this.#underWay.get(key);
    if (joined !== undefined) return joined;
    const issuing = issue();
    this.#underWay.set(key, issuing);
    try {
      const svid = await issuing;
      this.#issued += 1;
      this.#lastExpiry = Math.max(this.#lastExpiry, svid.expiresAt);
      if (this.#underWay.get(key) === issuing) this.#keep(key, svid);
      return svid;
    } finally {
      if (this.#underWay.get(key) === issuing) this.#underWay.delete(key);
    }
  }

  /** Hands out none of what was issued, or is being issued, to those who ask from now on. */
  forget(): void {
    this.#byAudiences.clear();
    this.#underWay.clear();
  }

  #keep(key: string, svid: JwtSvid): void {
    this.#byAudiences.delete(key);
    this.#byAudiences.set(key, svid);
    if (this.#byAudiences.size <= MOST_AUDIENCE_SETS) return;
    for (const oldest of this.#byAudiences.keys()) {
      this.#byAudiences.delete(oldest);
      return;
    }
  }
}

/** Audiences hold no control character, so NUL joins them without a clash. */
function keyOf(audiences: Audiences): string {
  return audiences.length === 1 ? audiences[0] : audiences.join('\0');
}
