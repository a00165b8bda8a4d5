import { randomUUID } from 'node:crypto';
import type { Context } from '../attest/context.ts';
import type { LeaseEndReason } from '../ledger/event.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Entry } from '../registry/entry.ts';
import type { KeyedKind } from './held-svid.ts';
import { HeldSvid } from './held-svid.ts';
import type { WitSvid, X509Svid } from './svid.ts';
import { Tokens } from './tokens.ts';

/**
 * Why a lease is over for this agent: it ended, or the agent stops. Then its process may live on, and the next agent takes the lease
 * over.
 */
export type LeaseEnd = LeaseEndReason | 'shutdown';

/** What an agent before this one left of a lease. */
export interface Inheritance {
  readonly id: string;
  /** The decision that opened the lease. */
  readonly decision: string;
  /** Milliseconds since the epoch. */
  readonly openedAt: number;
  /** Certificates that hold until their successor is there. Their keys went with the agent that made them. */
  readonly serials: readonly string[];
  /** The ids of WIT-SVIDs that hold until their successor is there. */
  readonly wits: readonly string[];
  /** When the last thing issued under it expires: milliseconds since the epoch. */
  readonly expiresAt: number;
  /** Where its process lived. */
  readonly context: Context;
}

const X509: KeyedKind<X509Svid> = {
  name: 'certificate',
  identifier: 'serial',
  idOf: ({ serial }) => serial,
  termsOf: ({ dnsNames, expiresAt, x509SvidTtl }) => JSON.stringify([x509SvidTtl, dnsNames, expiresAt]),
};

const WIT: KeyedKind<WitSvid> = {
  name: 'WIT-SVID',
  identifier: 'jti',
  idOf: ({ jti }) => jti,
  termsOf: ({ expiresAt, witSvidTtl }) => JSON.stringify([witSvidTtl, expiresAt]),
};

/** What one process instance holds of one entry: at most one certificate and one WIT-SVID at a time, each with a key, and tokens. */
export class Lease {
  readonly id: string;
  readonly instance: ProcessInstance;
  readonly createdAt: number;
  readonly x509: HeldSvid<X509Svid>;
  readonly wit: HeldSvid<WitSvid>;
  readonly tokens = new Tokens();
  readonly #inheritedUntil: number;
  #decisionId: string | undefined;
  #deliveredAt: number | undefined;
  #ended = false;
  #entry: Entry;

  /** @param inherited set for a lease that is taken over */
  constructor(instance: ProcessInstance, entry: Entry, now: number, inherited?: Inheritance) {
    this.id = inherited?.id ?? randomUUID();
    this.instance = instance;
    this.#entry = entry;
    this.createdAt = inherited?.openedAt ?? now;
    this.#decisionId = inherited?.decision;
    this.x509 = new HeldSvid(X509, entry, inherited?.serials ?? []);
    this.wit = new HeldSvid(WIT, entry, inherited?.wits ?? []);
    this.#inheritedUntil = inherited?.expiresAt ?? 0;
  }

  /** The decision that opened the lease; `undefined` while nothing was issued under it. */
  get decisionId(): string | undefined {
    return this.#decisionId;
  }

  /** True while what its process holds was made by an agent before this one. */
  get adopted(): boolean {
    return this.x509.inherited || this.wit.inherited;
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

  /** Takes the entry as it stands after a reload; see {@link HeldSvid.replaceEntry}. Tokens of other terms are not handed out again. */
  replaceEntry(entry: Entry): void {
    if (entry === this.#entry) return;
    this.x509.replaceEntry(entry);
    this.wit.replaceEntry(entry);
    if (tokenTerms(entry) !== tokenTerms(this.#entry)) this.tokens.forget();
    this.#entry = entry;
  }

  /** Notes the decision of something that was issued; the first one opens the lease. */
  issued(decisionId: string): void {
    this.#decisionId ??= decisionId;
  }

  /** Notes that a client's connection took what was issued. */
  delivered(now: number): void {
    this.#deliveredAt = now;
  }

  /** When the last thing issued under this lease expires. */
  get expiresAt(): number {
    return Math.max(this.x509.expiresAt, this.wit.expiresAt, this.tokens.lastExpiry, this.#inheritedUntil);
  }

  /** Drops the keys, for good. */
  end(): void {
    this.#ended = true;
    this.x509.drop();
    this.wit.drop();
  }
}

/** What a token is bound by beside its audiences. */
function tokenTerms(entry: Entry): string {
  return JSON.stringify([entry.jwtSvidTtl, entry.audiences, entry.expiresAt]);
}
