import type { Attested } from '../attest/attestor.ts';
import type { Authority, IssuedJwt } from '../authority/authority.ts';
import type { Audiences } from '../kernel/audience.ts';
import type { Clock } from '../kernel/clock.ts';
import { MayflyError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { Secret } from '../kernel/secret.ts';
import type { SpiffeId } from '../kernel/spiffe-id.ts';
import type { Occasion, Refusal } from '../policy/grant.ts';
import type { Policy } from '../policy/policy.ts';
import type { Entry } from '../registry/entry.ts';
import type { LeafKeyType } from '../svid/leaf-key.ts';
import { generateLeafKey } from '../svid/leaf-key.ts';

/** A certificate and the key it was made for. The key is this lease's alone. Times in milliseconds since the epoch. */
export interface X509Svid {
  readonly decisionId: string;
  readonly spiffeId: SpiffeId;
  /** DER, leaf first, without the root. */
  readonly chain: readonly [Buffer, ...Buffer[]];
  /** PKCS#8 DER. */
  readonly privateKey: Secret;
  readonly serial: string;
  readonly notBefore: number;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** A token. Times in milliseconds since the epoch. */
export interface JwtSvid {
  readonly decisionId: string;
  readonly spiffeId: SpiffeId;
  readonly token: string;
  readonly jti: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** How often what was decided, for `status`. */
export interface IssueCounts {
  x509: number;
  jwt: number;
  /** By the policy. */
  refused: number;
  /** Because the authority could not sign. */
  failed: number;
}

/**
 * Issues one SVID: asks the policy, makes the key, has the authority sign what was granted, and asks the kernel once more whether
 * the process still lives, so that nothing is delivered for a process that ended meanwhile.
 */
export class Issuer {
  readonly counts: IssueCounts = { x509: 0, jwt: 0, refused: 0, failed: 0 };
  readonly #policy: Policy;
  readonly #authority: Authority;
  readonly #clock: Clock;
  readonly #log: Log;
  #keyType: LeafKeyType;

  constructor(parts: { policy: Policy; authority: Authority; keyType: LeafKeyType; clock: Clock; log: Log }) {
    this.#policy = parts.policy;
    this.#authority = parts.authority;
    this.#keyType = parts.keyType;
    this.#clock = parts.clock;
    this.#log = parts.log;
  }

  /** Makes keys of another type from the next issuance on. */
  replaceKeyType(keyType: LeafKeyType): void {
    this.#keyType = keyType;
  }

  /**
   * @throws MayflyError `NO_IDENTITY` when the policy refuses or the process is gone, `AUTHORITY_UNAVAILABLE` when nothing can be
   *   signed now
   */
  async x509(attested: Attested, entry: Entry, occasion: Occasion): Promise<X509Svid> {
    const decision = await this.#policy.decide({
      kind: 'x509',
      ...attested,
      entry,
      occasion,
      now: this.#clock.now(),
      signerExpiresAt: this.#authority.signerExpiresAt('x509'),
    });
    if (decision.kind === 'refusal') throw this.#refuse(attested, entry, decision);

    const { publicKey, privateKey } = await generateLeafKey(this.#keyType);
    try {
      const issued = await this.#authority.issueX509(decision, publicKey);
      mustLive(attested);
      this.counts.x509 += 1;
      this.#log.info('lease.issued', `issued a certificate for ${entry.spiffeId}`, {
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
  async jwt(attested: Attested, entry: Entry, audiences: Audiences): Promise<JwtSvid> {
    const decision = await this.#policy.decide({
      kind: 'jwt',
      ...attested,
      entry,
      audiences,
      occasion: 'on-demand',
      now: this.#clock.now(),
      signerExpiresAt: this.#authority.signerExpiresAt('jwt'),
    });
    if (decision.kind === 'refusal') throw this.#refuse(attested, entry, decision);

    let issued: IssuedJwt;
    try {
      issued = await this.#authority.issueJwt(decision);
      mustLive(attested);
    } catch (error) {
      this.counts.failed += 1;
      throw error;
    }
    this.counts.jwt += 1;
    this.#log.debug('lease.issued', `issued a token for ${entry.spiffeId}`, {
      kind: 'jwt',
      decision: decision.decisionId,
      instance: attested.instance.key,
      entry: entry.id,
      spiffe_id: entry.spiffeId,
      jti: issued.jti,
      audiences,
      rule: decision.rule,
      expires_at: new Date(issued.expiresAt).toISOString(),
    });
    return {
      decisionId: decision.decisionId,
      spiffeId: entry.spiffeId,
      token: issued.token,
      jti: issued.jti,
      issuedAt: issued.issuedAt,
      expiresAt: issued.expiresAt,
    };
  }

  #refuse(attested: Attested, entry: Entry, refusal: Refusal): MayflyError {
    this.counts.refused += 1;
    this.#log.warn('policy.refused', refusal.message, {
      decision: refusal.decisionId,
      instance: attested.instance.key,
      entry: entry.id,
      spiffe_id: entry.spiffeId,
      reason: refusal.rule,
    });
    return new MayflyError('NO_IDENTITY', refusal.message);
  }
}

function mustLive(attested: Attested): void {
  if (attested.instance.alive()) return;
  throw new MayflyError('NO_IDENTITY', `process ${attested.instance.pid} ended while its identity was being issued`);
}
