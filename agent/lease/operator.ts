import { isPlace } from '../attest/context.ts';
import { MayflyError } from '../kernel/errors.ts';
import type { InstanceRecord } from '../ledger/event.ts';
import type { IssuanceLedger } from '../ledger/issuance-ledger.ts';
import type { LiveLease } from '../ledger/state.ts';
import { tokenOf } from '../ledger/state.ts';
import type { Revocation } from '../revocation/revocation.ts';
import type { RevocationReason } from '../svid/crl.ts';
import type { Lease } from './lease.ts';
import type { Leases } from './leases.ts';

/**
 * What an operator means: one certificate, one token, or all leases of a process, an identity, an entry,
 * of what processes live in (see {@link isPlace}), or at all.
 */
export type RevocationTarget =
  | { readonly kind: 'serial'; readonly serial: string }
  | { readonly kind: 'jti'; readonly jti: string }
  | { readonly kind: 'pid'; readonly pid: number }
  | { readonly kind: 'spiffe-id'; readonly spiffeId: string }
  | { readonly kind: 'entry'; readonly entryId: string }
  | { readonly kind: 'place'; readonly place: string }
  | { readonly kind: 'all' };

/** How an operator wants it revoked. */
export interface RevocationOrder {
  /** The operator's words, for the record. */
  readonly reason: string;
  /** What verifiers are told. */
  readonly code: RevocationReason;
  /** Whether the processes may be given the same again at once; earlier bars on them are lifted, too. */
  readonly allowReissue: boolean;
}

/** What an operator's order did to one lease. */
export interface RevokedLease {
  readonly lease: LiveLease;
  readonly serials: readonly string[];
  readonly jtis: readonly string[];
  /** False of a token that was revoked alone. */
  readonly ended: boolean;
  readonly barred: boolean;
}

/** The leases in the table, by their ids: the ledger may know some that are in it no more. */
type HeldLeases = ReadonlyMap<string, Lease>;

/** Revokes by hand: ends leases, and keeps their processes from being given the same again until the operator allows it. */
export class Operator {
  readonly #leases: Leases;
  readonly #ledger: IssuanceLedger;
  readonly #revocation: Revocation;

  constructor(parts: { readonly leases: Leases; readonly ledger: IssuanceLedger; readonly revocation: Revocation }) {
    this.#leases = parts.leases;
    this.#ledger = parts.ledger;
    this.#revocation = parts.revocation;
  }

  /**
   * @returns what was revoked, and how many processes may be given something again
   * @throws MayflyError `NOT_FOUND` when nothing that lives or was kept back is meant
   */
  revoke(target: RevocationTarget, order: RevocationOrder): { revoked: readonly RevokedLease[]; allowed: number } {
    const allowed = order.allowReissue ? this.#allow(target, order) : 0;
    // Looked up in a map: `all` means each of them.
    const held = new Map([...this.#leases].map((lease) => [lease.id, lease]));
    const revoked =
      target.kind === 'jti'
        ? [this.#revokeToken(target.jti, order, held)]
        : this.#targeted(target).map((lease) => this.#revokeLease(lease, order, held));
    if (revoked.length === 0 && allowed === 0) throw this.#notFound(target);
    return { revoked, allowed };
  }

  #targeted(target: RevocationTarget): readonly LiveLease[] {
    return [...this.#ledger.state.leases.values()].filter((lease) => isMeant(lease, target));
  }

  #revokeLease(lease: LiveLease, { allowReissue, code, reason }: RevocationOrder, held: HeldLeases): RevokedLease {
    if (!allowReissue) this.#revocation.bar(lease, reason);
    const own = held.get(lease.id);
    const how = { code, cause: reason };
    const ended = own === undefined ? undefined : this.#leases.end(own, 'revoked', how);
    const { serials, jtis } = ended ?? this.#revocation.end(lease, 'revoked', how);
    return { lease, serials, jtis, ended: true, barred: !allowReissue };
  }

  /** One JWT-SVID or WIT-SVID alone: its process keeps its identity, and is given another when it asks, or follows. */
  #revokeToken(jti: string, { code, reason }: RevocationOrder, held: HeldLeases): RevokedLease {
    const lease = this.#ledger.state.leases.values().find((each) => tokenOf(each, jti) !== undefined);
    if (lease === undefined) throw this.#notFound({ kind: 'jti', jti });
    const own = held.get(lease.id);
    if (lease.tokens.has(jti)) own?.tokens.forget();
    this.#revocation.revokeToken(jti, { code, cause: reason });
    if (own?.wit.current?.jti === jti) this.#leases.replaceWit(own);
    return { lease, serials: [], jtis: [jti], ended: false, barred: false };
  }

  /** What was asked for is not there to be revoked, or was revoked before. */
  #notFound(target: RevocationTarget): MayflyError {
    const { revokedCertificates, revokedTokens } = this.#ledger.state;
    const before =
      target.kind === 'serial'
        ? revokedCertificates.get(target.serial)
        : target.kind === 'jti'
          ? revokedTokens.get(target.jti)
          : undefined;
    const sentence =
      before === undefined
        ? `${absence(target)}; mayfly leases shows what there is`
        : `it is revoked already (${before.reason}); mayfly audit trace tells why`;
    return new MayflyError('NOT_FOUND', sentence);
  }

  #allow(target: RevocationTarget, { reason }: RevocationOrder): number {
    return this.#revocation.allow((bar) => isMeant(bar, target), reason);
  }
}

/** What is asked of a lease, or of a bar that outlives one. */
interface Meant {
  readonly instance?: Pick<InstanceRecord, 'pid' | 'container' | 'pod' | 'unit'>;
  readonly entry: string;
  readonly spiffeId?: string;
  readonly certificates?: ReadonlyMap<string, unknown>;
}

function isMeant({ certificates, entry, instance, spiffeId }: Meant, target: RevocationTarget): boolean {
  switch (target.kind) {
    case 'serial':
      return certificates?.has(target.serial) === true;
    case 'jti':
      return false;
    case 'pid':
      return instance?.pid === target.pid;
    case 'spiffe-id':
      return spiffeId === target.spiffeId;
    case 'entry':
      return entry === target.entryId;
    case 'place':
      return instance !== undefined && isPlace(target.place, instance);
    case 'all':
      return true;
  }
}

function absence(target: RevocationTarget): string {
  switch (target.kind) {
    case 'serial':
      return `no living lease has an unexpired certificate with the serial ${target.serial}`;
    case 'jti':
      return `no living lease has an unexpired token with the id ${target.jti}`;
    case 'pid':
      return `no lease of process ${target.pid} lives`;
    case 'spiffe-id':
      return `no lease for ${target.spiffeId} lives`;
    case 'entry':
      return `no lease of entry ${target.entryId} lives`;
    case 'place':
      return `no lease lives in ${JSON.stringify(target.place)}`;
    case 'all':
      return 'no lease lives';
  }
}
