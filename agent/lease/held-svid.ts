import { isMayflyError } from '../kernel/errors.ts';
import type { Secret } from '../kernel/secret.ts';
import type { Entry } from '../registry/entry.ts';
import { renewalTime } from './rotation.ts';

/** What is issued together with a key, and renewed before it expires. Times in milliseconds since the epoch. */
export interface KeyedSvid {
  /** The lease's alone. */
  readonly privateKey: Secret;
  /** From when on it may be believed. */
  readonly notBefore: number;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** All that depends on the kind of a {@link KeyedSvid}; what holds one asks here and never enumerates kinds itself. */
export interface KeyedKind<S extends KeyedSvid> {
  /** Such that "the … of process 7" reads well. */
  readonly name: string;
  /** By what the ledger and the log know it. */
  readonly identifier: 'serial' | 'jti';
  readonly idOf: (svid: S) => string;
  /** What of an entry is in it: when that changes, it must too. */
  readonly termsOf: (entry: Entry) => string;
}

/** An SVID could not be issued: the `count`-th time in a row, and when it is tried again. */
export interface IssueFailure {
  readonly error: unknown;
  readonly count: number;
  readonly retryAt: number;
}

/** A {@link HeldSvid} for those to whom it makes no difference of which kind it is. */
export type AnyHeldSvid = Omit<HeldSvid<KeyedSvid>, 'renew'>;

// Beyond every delay that is ever set for a retry.
const LONGEST_WAIT_MS = 60_000;

/** The SVID of one kind that a lease has, with its key: at most one at a time, each the successor of the one before. */
export class HeldSvid<S extends KeyedSvid> {
  readonly #kind: KeyedKind<S>;
  #terms: string;
  #inherited: readonly string[];
  #current: S | undefined;
  #opened: boolean;
  #renewsAt = 0;
  #rotations = 0;
  #failure: IssueFailure | undefined;

  /** @param inherited ids of those that an agent before this one has issued: they hold until their successor is there */
  constructor(kind: KeyedKind<S>, entry: Entry, inherited: readonly string[]) {
    this.#kind = kind;
    this.#terms = kind.termsOf(entry);
    this.#inherited = inherited;
    this.#opened = inherited.length > 0;
  }

  /** Such that "the … of process 7" reads well. */
  get name(): string {
    return this.#kind.name;
  }

  /** By what the ledger and the log know those of this kind. */
  get identifier(): 'serial' | 'jti' {
    return this.#kind.identifier;
  }

  get current(): S | undefined {
    return this.#current;
  }

  /** Of the one there is. */
  get currentId(): string | undefined {
    return this.#current === undefined ? undefined : this.#kind.idOf(this.#current);
  }

  /** True while what its process holds was made by an agent before this one. */
  get inherited(): boolean {
    return this.#inherited.length > 0;
  }

  /** True once one was issued, by this agent or the one before. */
  get opened(): boolean {
    return this.#opened;
  }

  get rotations(): number {
    return this.#rotations;
  }

  /** When the one there is has to be renewed; meaningless without one. */
  get renewsAt(): number {
    return this.#renewsAt;
  }

  /** Set while the newest try to issue one has failed. */
  get failure(): IssueFailure | undefined {
    return this.#failure;
  }

  /** 0 without one. */
  get expiresAt(): number {
    return this.#current?.expiresAt ?? 0;
  }

  /**
   * Takes the entry as it stands after a reload. One of other terms is due at once; it serves until its successor is there, since the
   * identity is the same.
   */
  replaceEntry(entry: Entry): void {
    const terms = this.#kind.termsOf(entry);
    if (terms !== this.#terms) this.#renewsAt = 0;
    this.#terms = terms;
  }

  /** Has it renewed at the next look. */
  outdate(): void {
    this.#renewsAt = 0;
    this.#failure = undefined;
  }

  /**
   * Puts a new one in place of the old one, whose key is dropped.
   *
   * @param entry under which it was issued; there may be a newer one by now
   * @returns ids of those that must not be believed for long: of another agent's, whose keys nobody watches over any more, and of one
   *   with other terms than the entry has now
   */
  renew(svid: S, entry: Entry, random: number): readonly string[] {
    const old = this.#current;
    const superseded = [...this.#inherited];
    if (old !== undefined && this.#renewsAt === 0) superseded.push(this.#kind.idOf(old));
    this.#inherited = [];
    if (old !== undefined) this.#rotations += 1;
    this.#current = svid;
    this.#opened = true;
    const upToDate = this.#kind.termsOf(entry) === this.#terms;
    this.#renewsAt = upToDate ? renewalTime(svid.issuedAt, svid.expiresAt, random) : 0;
    this.#failure = undefined;
    old?.privateKey.destroy();
    return superseded;
  }

  /** Notes that none could be issued, and when to try again. */
  fail(failure: IssueFailure): void {
    this.#failure = failure;
  }

  /** Forgets a failure: the one there is serves as it should after all, since the clock was set or the entry changed back. */
  recover(): void {
    this.#failure = undefined;
  }

  /** Whether one is wanted at `now`: there is none, or it is due, expired, or from a future that a clock step took back. */
  isDue(now: number): boolean {
    const svid = this.#current;
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

  /** For how long it has been due, in milliseconds; `undefined` where there is none, or it is to be replaced before its time. */
  overdue(now: number): number | undefined {
    return this.#current === undefined || this.#renewsAt === 0 ? undefined : Math.max(0, now - this.#renewsAt);
  }

  /** How long it is still valid, in milliseconds; 0 without one. */
  remaining(now: number): number {
    return Math.max(0, (this.#current?.expiresAt ?? now) - now);
  }

  /** The one there is, while a verifier would accept it. */
  usable(now: number): S | undefined {
    return this.#current !== undefined && now < this.#current.expiresAt ? this.#current : undefined;
  }

  /** Drops it with its key. */
  drop(): void {
    this.#current?.privateKey.destroy();
    this.#current = undefined;
  }
}
