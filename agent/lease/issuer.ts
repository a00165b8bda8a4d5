import { randomUUID } from 'node:crypto';
import type { Attested } from '../attest/attestor.ts';
import type { Authority } from '../authority/authority.ts';
import type { Audiences } from '../kernel/audience.ts';
import type { Clock } from '../kernel/clock.ts';
import { isMayflyError, MayflyError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { SvidKind } from '../ledger/event.ts';
import type { IssuanceLedger } from '../ledger/issuance-ledger.ts';
import type { Grant, GrantOf, IssueRequest, Occasion, Refusal } from '../policy/grant.ts';
import { isRefusal } from '../policy/grant.ts';
import type { Policy } from '../policy/policy.ts';
import type { Revocation } from '../revocation/revocation.ts';
import type { LeafKeyType } from '../svid/leaf-key.ts';
import { generateLeafKey } from '../svid/leaf-key.ts';
import { generateWitKey } from '../svid/wit-key.ts';
import type { Lease } from './lease.ts';
import type { LeaseObserver } from './observer.ts';
import type { Signed } from './record.ts';
import { issuedRecord, refusedRecord, strangerRecord } from './record.ts';
import { Refused } from './refused.ts';
import type { JwtSvid, WitSvid, X509Svid } from './svid.ts';

/** How often what was decided, for `status`. */
export interface IssueCounts {
  x509: number;
  jwt: number;
  wit: number;
  /** By the policy. */
  refused: number;
  /** Because the authority could not sign, the ledger had no room, or the process ended meanwhile. */
  failed: number;
}

/** What an issuer is made of. */
export interface IssuerParts {
  readonly policy: Policy;
  readonly authority: Authority;
  readonly ledger: IssuanceLedger;
  readonly revocation: Revocation;
  readonly keyType: LeafKeyType;
  readonly clock: Clock;
  readonly log: Log;
  readonly observer?: LeaseObserver | undefined;
}

const NAMES: Readonly<Record<SvidKind, string>> = { x509: 'a certificate', jwt: 'a token', wit: 'a WIT-SVID' };

/**
 * Issues one SVID: asks the policy, makes the key, has the authority sign what was granted, and has it recorded. What this returns is
 * in the ledger, durably. From the moment it is recorded it belongs to its lease: should that end before the delivery, what was
 * issued is revoked with it, and until that moment nothing is recorded for a process or a lease that is over.
 */
export class Issuer {
  readonly counts: IssueCounts = { x509: 0, jwt: 0, wit: 0, refused: 0, failed: 0 };
  readonly #parts: IssuerParts;
  readonly #refused: Refused;
  #keyType: LeafKeyType;

  constructor(parts: IssuerParts) {
    this.#parts = parts;
    this.#refused = new Refused(parts.ledger, parts.clock);
    this.#keyType = parts.keyType;
  }

  /** Makes keys of another type from the next issuance on. */
  replaceKeyType(keyType: LeafKeyType): void {
    this.#keyType = keyType;
  }

  /** Records the refusals that are held back. */
  close(): void {
    this.#refused.close();
  }

  /**
   * Records that a process has asked for what no entry entitles it to.
   *
   * @param reason a sentence
   */
  refuseStranger(attested: Attested, kind: SvidKind, reason: string): void {
    this.counts.refused += 1;
    this.#parts.observer?.refused({ entry: undefined, kind }, 'no_entry');
    this.#refused.record(attested.instance.key, strangerRecord(attested, kind, reason));
  }

  /**
   * @throws MayflyError `POLICY_REFUSED`, `REISSUE_BARRED`; `NO_IDENTITY` when the process or the lease is over;
   *   `AUTHORITY_UNAVAILABLE` when nothing can be signed now, `DISK_FULL` when it cannot be recorded
   */
  async x509(attested: Attested, lease: Lease, occasion: Occasion): Promise<X509Svid> {
    const { authority, clock, ledger, revocation } = this.#parts;
    const began = clock.monotonic();
    const { entry } = lease;
    const asked = this.#asked(attested, lease, 'x509', occasion);
    const age = asked.now - (ledger.state.leases.get(lease.id)?.openedAt ?? asked.now);
    const subject = { entryId: entry.id, spiffeId: entry.spiffeId };
    const request = { ...asked, bearable: (lifetime: number) => revocation.bound(subject, age, lifetime) };
    const grant = await this.#decide(request, lease);

    const { publicKey, privateKey } = await generateLeafKey(this.#keyType);
    try {
      const { chain, issuer, notAfter: expiresAt, notBefore, serial } = await authority.issueX509(grant, publicKey);
      await this.#record(request, grant, lease, { serial, issuer, expiresAt }, began);
      const { decisionId, issuedAt } = grant;
      return { decisionId, spiffeId: entry.spiffeId, chain, privateKey, serial, notBefore, issuedAt, expiresAt };
    } catch (error) {
      privateKey.destroy();
      this.#failed(request, error);
      throw error;
    }
  }

  /** With a key of its own, which is not the certificate's. @throws MayflyError as {@link x509} */
  async wit(attested: Attested, lease: Lease, occasion: Occasion): Promise<WitSvid> {
    const began = this.#parts.clock.monotonic();
    const request = this.#asked(attested, lease, 'wit', occasion);
    const grant = await this.#decide(request, lease);

    const { confirmation, privateKey } = await generateWitKey(this.#keyType);
    try {
      const { expiresAt, issuedAt: notBefore, jti, token } = await this.#parts.authority.issueWit(grant, confirmation);
      await this.#record(request, grant, lease, { jti, expiresAt }, began);
      const { decisionId, issuedAt } = grant;
      return { decisionId, spiffeId: request.entry.spiffeId, token, privateKey, jti, notBefore, issuedAt, expiresAt };
    } catch (error) {
      privateKey.destroy();
      this.#failed(request, error);
      throw error;
    }
  }

  /** @throws MayflyError as {@link x509} */
  async jwt(attested: Attested, lease: Lease, audiences: Audiences): Promise<JwtSvid> {
    const { authority, clock, ledger } = this.#parts;
    const began = clock.monotonic();
    const outstanding = ledger.state.leases.get(lease.id)?.tokens.size ?? 0;
    const request = { ...this.#asked(attested, lease, 'jwt', 'on-demand'), audiences, outstanding };
    const grant = await this.#decide(request, lease);

    try {
      const { expiresAt, issuedAt, jti, token } = await authority.issueJwt(grant);
      await this.#record(request, grant, lease, { jti, expiresAt }, began);
      return { decisionId: grant.decisionId, spiffeId: lease.entry.spiffeId, token, jti, issuedAt, expiresAt };
    } catch (error) {
      this.#failed(request, error);
      throw error;
    }
  }

  #asked<K extends SvidKind>(attested: Attested, lease: Lease, kind: K, occasion: Occasion) {
    const { authority, clock } = this.#parts;
    return {
      kind,
      ...attested,
      entry: lease.entry,
      occasion,
      now: clock.now(),
      signerExpiresAt: authority.signerExpiresAt(kind),
      // Revoked tokens are on no list that anybody is sent.
      bearable: (lifetime: number) => lifetime,
    };
  }

  /** @throws MayflyError `POLICY_REFUSED`, `REISSUE_BARRED`, once it is recorded */
  async #decide<R extends IssueRequest>(request: R, lease: Lease): Promise<GrantOf<R>> {
    this.#mustNotBeBarred(request, lease);
    const decision = await this.#parts.policy.decide(request);
    if (isRefusal(decision)) throw this.#refuse(request, decision, lease);
    return decision;
  }

  /**
   * Records what was signed; when this resolves it is durable.
   *
   * @param began when it was asked for, by the monotonic clock
   * @throws MayflyError `NO_IDENTITY`, `DISK_FULL`
   */
  async #record(request: IssueRequest, grant: Grant, lease: Lease, signed: Signed, began: number): Promise<void> {
    const { clock, ledger, log, observer } = this.#parts;
    const { entry, instance, kind, occasion } = request;
    mustLast(request, lease);
    await ledger.append(issuedRecord(request, grant, lease, signed));
    lease.issued(grant.decisionId);
    this.counts[kind] += 1;
    observer?.issued({ entry: entry.id, kind }, occasion, clock.monotonic() - began);
    const { expiresAt, ...named } = signed;
    // Tokens come by the thousand.
    log[kind === 'jwt' ? 'debug' : 'info']('lease.issued', `issued ${NAMES[kind]} for ${entry.spiffeId}`, {
      kind,
      decision: grant.decisionId,
      instance: instance.key,
      entry: entry.id,
      spiffe_id: entry.spiffeId,
      ...named,
      occasion,
      ...(request.kind === 'jwt' && { audiences: request.audiences }),
      rule: grant.rule,
      expires_at: new Date(expiresAt).toISOString(),
    });
  }

  #failed({ entry, kind }: IssueRequest, error: unknown): void {
    this.counts.failed += 1;
    this.#parts.observer?.failed({ entry: entry.id, kind }, isMayflyError(error) ? error.code : 'INTERNAL');
  }

  /** What an operator has revoked stays revoked, whatever any policy says. */
  #mustNotBeBarred(request: IssueRequest, lease: Lease): void {
    const { instance, entry } = request;
    if (!this.#parts.revocation.isBarred(instance, entry.id)) return;
    const message = `process ${instance.pid} is not given ${entry.spiffeId} again: it was revoked; mayfly revoke --pid ${instance.pid} --allow-reissue --reason TEXT takes that back`;
    const refusal: Refusal = {
      kind: 'refusal',
      decisionId: randomUUID(),
      rule: 'reissue_barred',
      lifetimeAsked: 0,
      message,
    };
    this.#refuse(request, refusal, lease);
    throw new MayflyError('REISSUE_BARRED', message);
  }

  #refuse(request: IssueRequest, refusal: Refusal, lease: Lease): MayflyError {
    const { entry, instance } = request;
    this.counts.refused += 1;
    this.#parts.observer?.refused({ entry: entry.id, kind: request.kind }, refusal.rule);
    this.#refused.record(instance.key, refusedRecord(request, refusal, lease));
    this.#parts.log.warn('policy.refused', refusal.message, {
      decision: refusal.decisionId,
      instance: instance.key,
      entry: entry.id,
      spiffe_id: entry.spiffeId,
      reason: refusal.rule,
    });
    return new MayflyError('POLICY_REFUSED', refusal.message);
  }
}

/** Asked right before something is recorded, with nothing in between: who ends later finds it among what the lease has. */
function mustLast({ instance }: IssueRequest, lease: Lease): void {
  if (!instance.alive()) {
    throw new MayflyError('NO_IDENTITY', `process ${instance.pid} ended while its identity was being issued`);
  }
  if (lease.ended) {
    throw new MayflyError('NO_IDENTITY', `the lease for ${lease.entry.spiffeId} ended while its SVID was being issued`);
  }
}
