import type { CrlIssuer } from '../authority/authority.ts';
import type { Clock } from '../kernel/clock.ts';
import type { RevokedCertificate } from '../ledger/state.ts';
import { encodeRevoked } from '../svid/crl.ts';
import type { CrlNumbers } from './crl-numbers.ts';

/** One signed list, for `status`. Times in milliseconds since the epoch. */
export interface SignedList {
  readonly issuer: CrlIssuer;
  /** DER. */
  readonly crl: Buffer;
  readonly number: number;
  readonly certificates: number;
  readonly thisUpdate: number;
  readonly nextUpdate: number;
}

/** How long an entry stays after its certificate has expired, in milliseconds: for verifiers whose clocks are behind. */
export const KEPT_AFTER_MS = 10_000;

// As long as there is room for it, for more than that: a clock that is a minute behind is not a rare one.
const KEPT_WITH_ROOM_MS = 60_000;
// A verifier that is an hour behind, and an agent whose clock is set back by an hour, find no list from the future.
const BACK_DATE_MS = 3_600_000;
// How long a list outlasts everything that it may be needed for.
const MARGIN_MS = 3_600_000;

interface Listed {
  readonly encoded: Buffer;
  /** By the wall clock. */
  readonly expiresAt: number;
  /** By the monotonic clock: one that jumps ahead and is set back must not give back what was revoked. */
  readonly expiresMonotonic: number;
  readonly dropped: (() => void) | undefined;
}

interface List {
  readonly entries: Map<string, Listed>;
  /** The newest there is. */
  signed: SignedList | undefined;
  /** Whether that does not say any more what is so. */
  changed: boolean;
}

/**
 * What is revoked, by the CA that signed it, and the signed lists of it. Every CA has one, an empty one rather than none. An entry is
 * encoded once; a list is signed anew only when it has changed.
 *
 * No list ends before anything that its CA has signed or may yet sign, so that an agent which is down, for however long, leaves no
 * valid certificate under an expired list: Envoy refuses every leaf under one.
 */
export class RevocationLists {
  readonly #numbers: CrlNumbers;
  readonly #clock: Clock;
  readonly #lists = new Map<string, List>();
  #issuers: readonly CrlIssuer[] = [];
  #certificates = 0;
  #entryBytes = 0;

  constructor(numbers: CrlNumbers, clock: Clock) {
    this.#numbers = numbers;
    this.#clock = clock;
  }

  /** How many certificates are on the lists. */
  get certificates(): number {
    return this.#certificates;
  }

  /** The size of all entries. */
  get entryBytes(): number {
    return this.#entryBytes;
  }

  /** The lists as they were last signed. */
  get signed(): readonly SignedList[] {
    return this.#issuers.flatMap(({ id }) => this.#lists.get(id)?.signed ?? []);
  }

  /** Says which CAs there are. The list of one that is no more goes, once nothing stands in it. */
  cover(issuers: readonly CrlIssuer[]): void {
    const before = new Map(this.#issuers.map((issuer) => [issuer.id, issuer]));
    this.#issuers = issuers;
    const known = new Set(issuers.map(({ id }) => id));
    for (const [id, list] of this.#lists) if (!known.has(id) && list.entries.size === 0) this.#lists.delete(id);
    for (const { id, notBefore, signsUntil } of issuers) {
      const list = this.#of(id);
      const was = before.get(id);
      if (was?.signsUntil !== signsUntil || was.notBefore !== notBefore) list.changed = true;
    }
  }

  /**
   * Puts a certificate on the list of its CA, for as long as it may be valid.
   *
   * @param dropped told once it stands on no list any more
   */
  add(certificate: RevokedCertificate, dropped?: () => void): void {
    const { expiresAt, issuer, reason, revokedAt, serial } = certificate;
    const list = this.#of(issuer);
    // As it was put there first.
    if (list.entries.has(serial)) return;
    const { now, monotonic } = this.#now();
    const encoded = encodeRevoked(serial, revokedAt, reason);
    list.entries.set(serial, { encoded, expiresAt, expiresMonotonic: monotonic + (expiresAt - now), dropped });
    list.changed = true;
    this.#certificates += 1;
    this.#entryBytes += encoded.length;
  }

  /**
   * Takes off what has expired.
   *
   * @param full whether room is needed, so that nothing stays longer than it must
   * @returns whether there was anything
   */
  drop(full: boolean): boolean {
    const { now, monotonic } = this.#now();
    const kept = full ? KEPT_AFTER_MS : KEPT_WITH_ROOM_MS;
    const before = this.#certificates;
    for (const [id, list] of this.#lists) {
      const size = list.entries.size;
      for (const [serial, { dropped, encoded, expiresAt, expiresMonotonic }] of list.entries) {
        if (now <= expiresAt + kept || monotonic <= expiresMonotonic + kept) continue;
        list.entries.delete(serial);
        this.#entryBytes -= encoded.length;
        dropped?.();
      }
      if (list.entries.size === size) continue;
      this.#certificates -= size - list.entries.size;
      list.changed = true;
      if (list.entries.size === 0 && !this.#issuers.some((issuer) => issuer.id === id)) this.#lists.delete(id);
    }
    return this.#certificates < before;
  }

  /** Has every list signed anew: their dates are those of a clock that was set since. */
  outdate(): void {
    for (const list of this.#lists.values()) list.changed = true;
  }

  /** The list of every CA, in the order in which the authority names them; those that have changed are signed. */
  sign(): readonly SignedList[] {
    return this.#issuers.map((issuer) => {
      const list = this.#of(issuer.id);
      const signed = list.signed === undefined || list.changed ? this.#sign(issuer, list) : list.signed;
      list.signed = signed;
      list.changed = false;
      return signed;
    });
  }

  #sign(issuer: CrlIssuer, { entries }: List): SignedList {
    const now = this.#clock.now();
    const number = this.#numbers.next();
    const thisUpdate = Math.max(now - BACK_DATE_MS, issuer.notBefore);
    const nextUpdate = Math.max(now, issuer.signsUntil) + MARGIN_MS;
    const encoded: Buffer[] = [];
    for (const entry of entries.values()) encoded.push(entry.encoded);
    const crl = issuer.sign({ number, thisUpdate, nextUpdate, entries: encoded });
    return { issuer, crl, number, certificates: entries.size, thisUpdate, nextUpdate };
  }

  #of(issuer: string): List {
    const known = this.#lists.get(issuer);
    if (known !== undefined) return known;
    const list: List = { entries: new Map(), signed: undefined, changed: true };
    this.#lists.set(issuer, list);
    return list;
  }

  #now() {
    return { now: this.#clock.now(), monotonic: this.#clock.monotonic() };
  }
}
