import { randomUUID } from 'node:crypto';
import type { Attested } from '../attest/attestor.ts';
import type { Authority } from '../authority/authority.ts';
import type { Audiences } from '../kernel/audience.ts';
import type { Clock } from '../kernel/clock.ts';
import { MayflyError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { SvidKind } from '../ledger/event.ts';
import type { IssuanceLedger } from '../ledger/issuance-ledger.ts';
import type { IssueRequest, Occasion, Refusal } from '../policy/grant.ts';
import type { Policy } from '../policy/policy.ts';
import type { Revocation } from '../revocation/revocation.ts';
import type { LeafKeyType } from '../svid/leaf-key.ts';
import { generateLeafKey } from '../svid/leaf-key.ts';
import type { Lease } from './lease.ts';
import { issuedRecord, refusedRecord, strangerRecord } from './record.ts';
import { Refused } from './refused.ts';
import type { JwtSvid, X509Svid } from './svid.ts';

/** How often what was decided, for `status`. */
export interface IssueCounts {
  x509: number;
  jwt: number;
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
}

/**
 * Issues one SVID: asks the policy, makes the key, has the authority sign what was granted, and has it recorded. What this returns is
 * in the ledger, durably. From the moment it is recorded it belongs to its lease: should that end before the delivery, what was
 * issued is revoked with it, and until that moment nothing is recorded for a process or a lease that is over.
 */
export class Issuer {
  readonly counts: IssueCounts = { x509: 0, jwt: 0, refused: 0, failed: 0 };
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

  /** Records that a process has asked for what no entry entitles it to. */
  refuseStranger(attested: Attested, kind: SvidKind): void {
    this.counts.refused += 1;
    this.#refused.record(attested.instance.key, strangerRecord(attested, kind));
  }

  /**
   * @throws MayflyError `POLICY_REFUSED`, `REISSUE_BARRED`; `NO_IDENTITY` when the process or the lease is over;
   *   `AUTHORITY_UNAVAILABLE` when nothing can be signed now, `DISK_FULL` when it cannot be recorded
   */
  async x509(attested: Attested, lease: Lease, occasion: Occasion): Promise<X509Svid> {
    const { authority, clock, ledger, log, policy, revocation } = this.#parts;
    const { entry } = lease;
    const now = clock.now();
    const request = {
      kind: 'x509' as const,
      ...attested,
      entry,
      occasion,
      now,
      signerExpiresAt: authority.signerExpiresAt('x509'),
      bearable: (lifetime: number) =>
        revocation.bound(entry.id, now - (ledger.state.leases.get(lease.id)?.openedAt ?? now), lifetime),
    };
    this.#mustNotBeBarred(request, lease);
    const decision = await policy.decide(request);
    if (decision.kind === 'refusal') throw this.#refuse(request, decision, lease);

    const { publicKey, privateKey } = await generateLeafKey(this.#keyType);
    try {
      const issued = await authority.issueX509(decision, publicKey);
      mustLast(attested, lease);
      const { serial, issuer, notAfter: expiresAt } = issued;
      await ledger.append(issuedRecord(request, decision, lease, { serial, issuer, expiresAt }));
      lease.issued(decision.decisionId);
      this.counts.x509 += 1;
      log.info('lease.issued', `issued a certificate for ${entry.spiffeId}`, {
        kind: 'x509',
        decision: decision.decisionId,
        instance: attested.instance.key,
        entry: entry.id,
        spiffe_id: entry.spiffeId,
        serial: issued.serial,
        occasion,
        rule: decision.rule,
        expires_at: new Date(issued.notAfter).toISOString(),
      });
      return {
        decisionId: decision.decisionId,
        spiffeId: entry.spiffeId,
        chain: issued.chain,
        privateKey,
        serial: issued.serial,
        notBefore: issued.notBefore,
        issuedAt: decision.issuedAt,
        expiresAt: issued.notAfter,
      };
    } catch (error) {
      privateKey.destroy();
      this.counts.failed += 1;
      throw error;
    }
  }

  /** @throws MayflyError as {@link x509} */
  async jwt(attested: Attested, lease: Lease, audiences: Audiences): Promise<JwtSvid> {
    const { authority, clock, ledger, log, policy } = this.#parts;
    const { entry } = lease;
    const request = {
      kind: 'jwt' as const,
      ...attested,
      entry,
      audiences,
      outstanding: ledger.state.leases.get(lease.id)?.tokens.size ?? 0,
      occasion: 'on-demand' as const,
      now: clock.now(),
      signerExpiresAt: authority.signerExpiresAt('jwt'),
      // Revoked tokens are on no list that anybody is sent.
      bearable: (lifetime: number) => lifetime,
    };
    this.#mustNotBeBarred(request, lease);
    const decision = await policy.decide(request);
    if (decision.kind === 'refusal') throw this.#refuse(request, decision, lease);

    try {
      const { token, jti, issuedAt, expiresAt } = await authority.issueJwt(decision);
      mustLast(attested, lease);
      await ledger.append(issuedRecord(request, decision, lease, { jti, expiresAt }));
      lease.issued(decision.decisionId);
      this.counts.jwt += 1;
      log.debug('lease.issued', `issued a token for ${entry.spiffeId}`, {
        kind: 'jwt',
        decision: decision.decisionId,
        instance: attested.instance.key,
        entry: entry.id,
        spiffe_id: entry.spiffeId,
        jti,
        audiences,
        rule: decision.rule,
        expires_at: new Date(expiresAt).toISOString(),
      });
      return { decisionId: decision.decisionId, spiffeId: entry.spiffeId, token, jti, issuedAt, expiresAt };
    } catch (error) {
      this.counts.failed += 1;
      throw error;
    }
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
function mustLast({ instance }: Attested, lease: Lease): void {
  if (!instance.alive()) {
    throw new MayflyError('NO_IDENTITY', `process ${instance.pid} ended while its identity was being issued`);
  }
  if (lease.ended) {
    throw new MayflyError('NO_IDENTITY', `the lease for ${lease.entry.spiffeId} ended while its SVID was being issued`);
  }
}
