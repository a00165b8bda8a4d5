import { randomUUID } from 'node:crypto';
import { isMayflyError } from '../kernel/errors.ts';
import type { LeaseEndReason } from '../ledger/event.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Entry } from '../registry/entry.ts';
import { renewalTime } from './rotation.ts';
import type { X509Svid } from './svid.ts';
import { Tokens } from './tokens.ts';

/**
 * Why a lease is over for this agent: it ended, or the agent stops. Then its process may live on, and the next agent takes the lease
 * over.
 */
export type LeaseEnd = LeaseEndReason | 'shutdown';

/** A certificate could not be issued: the `count`-th time in a row, and when it is tried again. */
export interface LeaseFailure {
  readonly error: unknown;
  readonly count: number;
  readonly retryAt: number;
}

// Beyond every delay that is ever set for a retry.
const LONGEST_WAIT_MS = 60_000;

/** What an agent before this one left of a lease. */
export interface Inheritance {
  readonly id: string;
  /** The decision that opened the lease. */
  readonly decision: string;
  /** Milliseconds since the epoch. */
  readonly openedAt: number;
  /** Certificates that hold until their successor is there. Their keys went with the agent that made them. */
  readonly serials: readonly string[];
  /** When the last thing issued under it expires: milliseconds since the epoch. */
  readonly expiresAt: number;
}

/** What one process instance holds of one entry: at most one certificate and key at a time, and tokens. */
export class Lease {
  readonly id: string;
  readonly instance: ProcessInstance;
  readonly createdAt: number;
  readonly tokens = new Tokens();
  readonly #inheritedUntil: number;
  #inherited: readonly string[];
  #decisionId: string | undefined;
  #deliveredAt: number | undefined;
  #ended = false;
  #entry: Entry;
  #x509: X509Svid | undefined;
  #renewsAt = 0;
  #rotations = 0;
  #failure: LeaseFailure | undefined;

  /** @param inherited set for a lease that is taken over */
  constructor(instance: ProcessInstance, entry: Entry, now: number, inherited?: Inheritance) {
    this.id = inherited?.id ?? randomUUID();
    this.instance = instance;
    this.#entry = entry;
    this.createdAt = inherited?.openedAt ?? now;
    this.#decisionId = inherited?.decision;
    this.#inherited = inherited?.serials ?? [];
    this.#inheritedUntil = inherited?.expiresAt ?? 0;
  }

  /** The decision that opened the lease; `undefined` while nothing was issued under it. */
  get decisionId(): string | undefined {
    return this.#decisionId;
  }

  /** True while what its process holds was made by an agent before this one. */
  get adopted(): boolean {
    return this.#inherited.length > 0;
  }

  /** Set once, and then for good: nothing may be issued or delivered under it any more. */
  get ended(): boolean {
    return this.#ended;
  }

  /** When a client's connection last took what was issued under it. */
  get deliveredAt(): number | undefined {
    return this.#deliveredAt;
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

  /** Has the certificate renewed at the next look. */
  outdate(): void {
    this.#renewsAt = 0;
    this.#failure = undefined;
  }

  /** Notes the decision of something that was issued; the first one opens the lease. */
  issued(decisionId: string): void {
    this.#decisionId ??= decisionId;
  }

  /** Notes that a client's connection took what was issued. */
  delivered(now: number): void {
    this.#deliveredAt = now;
  }

  /**
   * Puts a new certificate in place of the old one, whose key is dropped.
   *
   * @param entry under which it was issued; the lease's own may be newer by now
   * @returns serials that must not be believed for long: of another agent's certificates, whose keys nobody watches over any more,
   *   and of one with other names than the entry has now
   */
  renew(svid: X509Svid, entry: Entry, random: number): readonly string[] {
    const old = this.#x509;
    const superseded = [...this.#inherited];
    if (old !== undefined && this.#renewsAt === 0) superseded.push(old.serial);
    this.#inherited = [];
    const current = certificateTerms(entry) === certificateTerms(this.#entry);
    if (old !== undefined) this.#rotations += 1;
    this.#x509 = svid;
    this.#renewsAt = current ? renewalTime(svid.issuedAt, svid.expiresAt, random) : 0;
    this.#failure = undefined;
    old?.privateKey.destroy();
    return superseded;
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
    // Whoever asks anew may know that it is over, and to find out costs a signature at most.
    if (isMayflyError(failure?.error, 'REISSUE_BARRED') || isMayflyError(failure?.error, 'DISK_FULL')) return true;
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
    return Math.max(this.#x509?.expiresAt ?? 0, this.tokens.lastExpiry, this.#inheritedUntil);
  }

  /** Drops the key, for good. */
  end(): void {
    this.#ended = true;
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
