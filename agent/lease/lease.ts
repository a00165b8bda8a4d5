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
   * Takes the entry as it stands after a reload. What was issued under other terms (another lifetime or other names) is due at
   * once; it serves until its successor is there, since the identity is the same.
   */
  replaceEntry(entry: Entry): void {
    if (certificateTerms(entry) !== certificateTerms(this.#entry)) this.#renewsAt = 0;
    this.#entry = entry;
  }

  /** Puts a new certificate in place of the old one, whose key is dropped. */
  renew(svid: X509Svid, random: number): void {
    const old = this.#x509;
    if (old !== undefined) this.#rotations += 1;
    this.#x509 = svid;
    this.#renewsAt = renewalTime(svid.issuedAt, svid.expiresAt, random);
    this.#failure = undefined;
    old?.privateKey.destroy();
  }

  /** Notes that no certificate could be issued, and when to try again. */
  fail(failure: LeaseFailure): void {
    this.#failure = failure;
  }

  /** Whether a certificate should be issued at `now`: none, due, expired, or from a future that a clock step took back. */
  due(now: number): boolean {
    const svid = this.#x509;
    const failure = this.#failure;
    // A retry further away than any that is ever set means that the clock was set back.
    if (failure !== undefined && now < failure.retryAt && failure.retryAt - now < 60_000) return false;
    return svid === undefined || now >= this.#renewsAt || now >= svid.expiresAt || now < svid.notBefore;
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
