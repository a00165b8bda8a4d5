import { randomUUID } from 'node:crypto';
import type { InstanceEnd, ProcessInstance } from '../peer/instance.ts';
import type { Entry } from '../registry/entry.ts';
import type { X509Svid } from './issuer.ts';
import { renewalTime } from './rotation.ts';
import { Tokens } from './tokens.ts';

/**
 * Why a lease ended: its process ended; its entry went, changed its identity or no longer matches; all that was issued under it has
 * expired with nobody following; the agent stopped.
 */
export type LeaseEnd = InstanceEnd | 'withdrawn' | 'expired' | 'shutdown';

/** A certificate could not be issued: the `count`-th time in a row, and when it is tried again. */
export interface LeaseFailure {
  readonly error: unknown;
  readonly count: number;
  readonly retryAt: number;
}

// Beyond every delay that is ever set for a retry.
const LONGEST_WAIT_MS = 60_000;

/** What one process instance holds of one entry: at most one certificate and key at a time, and tokens. */
export class Lease {
  readonly id: string = randomUUID();
  readonly instance: ProcessInstance;
  readonly createdAt: number;
  readonly tokens = new Tokens();
  #entry: Entry;
  #x509: X509Svid | undefined;
  #renewsAt = 0;
  #rotations = 0;
  #failure: LeaseFailure | undefined;

  constructor(instance: ProcessInstance, entry: Entry, now: number) {
    this.instance = instance;
    this.#entry = entry;
    this.createdAt = now;
  }

  get entry(): Entry {
    return this.#entry;
  }

  get x509(): X509Svid | undefined {
    return this.#x509;
  }

  get rotations(): number {
    return this.#rotations;
  }

  /** When the certificate is due; meaningless without one. */
  get renewsAt(): number {
    return this.#renewsAt;
  }

  /** Set while the newest try to issue a certificate has failed. */
  get failure(): LeaseFailure | undefined {
    return this.#failure;
  }

  /**
   * Takes the entry as it stands after a reload. A certificate of other terms (another lifetime or other names) is due at once; it
   * serves until its successor is there, since the identity is the same. Tokens of other terms are not handed out again.
   */
  replaceEntry(entry: Entry): void {
    if (entry === this.#entry) return;
    if (certificateTerms(entry) !== certificateTerms(this.#entry)) this.#renewsAt = 0;
    if (tokenTerms(entry) !== tokenTerms(this.#entry)) this.tokens.forget();
    this.#entry = entry;
  }

  /**
   * Puts a new certificate in place of the old one, whose key is dropped.
   *
   * @param entry under which it was issued; the lease's own may be newer by now
   */
  renew(svid: X509Svid, entry: Entry, random: number): void {
    const old = this.#x509;
    const current = certificateTerms(entry) === certificateTerms(this.#entry);
    if (old !== undefined) this.#rotations += 1;
    this.#x509 = svid;
    this.#renewsAt = current ? renewalTime(svid.issuedAt, svid.expiresAt, random) : 0;
    this.#failure = undefined;
    old?.privateKey.destroy();
  }

  /** Notes that no certificate could be issued, and when to try again. */
  fail(failure: LeaseFailure): void {
    this.#failure = failure;
  }

  /** Forgets a failure: the certificate serves as it should after all, since the clock was set or the entry changed back. */
  recover(): void {
    this.#failure = undefined;
  }

  /** Whether a certificate is wanted at `now`: there is none, or it is due, expired, or from a future that a clock step took back. */
  needsCertificate(now: number): boolean {
    const svid = this.#x509;
    return svid === undefined || now >= this.#renewsAt || now >= svid.expiresAt || now < svid.notBefore;
  }

  /** Whether one may be asked for at `now`, after a failure. */
  mayTry(now: number): boolean {
    const failure = this.#failure;
    // A retry further away than any that is ever set means that the clock was set back.
    return failure === undefined || now >= failure.retryAt || failure.retryAt - now >= LONGEST_WAIT_MS;
  }

  /** How long the certificate is still valid, in milliseconds; 0 without one. */
  remaining(now: number): number {
    return Math.max(0, (this.#x509?.expiresAt ?? now) - now);
  }

  /** The certificate, while a verifier would accept it. */
  usable(now: number): X509Svid | undefined {
    return this.#x509 !== undefined && now < this.#x509.expiresAt ? this.#x509 : undefined;
  }

  /** When the last thing issued under this lease expires. */
  get expiresAt(): number {
    return Math.max(this.#x509?.expiresAt ?? 0, this.tokens.lastExpiry);
  }

  /** Drops the key. */
  end(): void {
    this.#x509?.privateKey.destroy();
    this.#x509 = undefined;
  }
}

/** What of an entry is in its certificate: when one of these changes, the certificate must too. */
function certificateTerms(entry: Entry): string {
  return JSON.stringify([entry.x509SvidTtl, entry.dnsNames, entry.expiresAt]);
}

/** What a token is bound by beside its audiences. */
function tokenTerms(entry: Entry): string {
  return JSON.stringify([entry.jwtSvidTtl, entry.audiences, entry.expiresAt]);
}
