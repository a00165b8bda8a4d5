import type { Audience } from '../kernel/audience.ts';
import type { Clock } from '../kernel/clock.ts';
import { isMayflyError, MayflyError } from '../kernel/errors.ts';
import type { TrustDomain } from '../kernel/spiffe-id.ts';
import { trustDomainOf } from '../kernel/spiffe-id.ts';
import type { UseEvent } from '../ledger/event.ts';
import type { IssuanceLedger } from '../ledger/issuance-ledger.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Revocation } from '../revocation/revocation.ts';
import type { VerifiedToken } from '../svid/token.ts';
import type { TrustBundle } from '../svid/trust-bundle.ts';
import type { VerifiedWitSvid } from '../svid/wit.ts';
import type { Leases } from './leases.ts';

/** What validation hangs on. */
export interface ValidationParts {
  readonly leases: Leases;
  readonly revocation: Revocation;
  readonly ledger: IssuanceLedger;
  readonly clock: Clock;
}

type Named = Pick<UseEvent, 'spiffe_id' | 'jti' | 'decision'>;
type Verify<V> = (bundles: ReadonlyMap<TrustDomain, TrustBundle>, now: number) => Promise<V>;

/** Validates tokens for workloads: signature and claims, and whether the token was revoked. Each is noted among the uses. */
export class Validation {
  readonly #parts: ValidationParts;

  constructor(parts: ValidationParts) {
    this.#parts = parts;
  }

  /**
   * @param caller who has it validated
   * @throws MayflyError `TOKEN_INVALID` with the reason; what {@link Leases} throws of the caller
   */
  async validateJwt(caller: ProcessInstance, token: string, audience: Audience): Promise<VerifiedToken> {
    // Loaded at the first validation: most agents never do one, and each start would pay for it.
    const { verifyJwtSvid } = await import('../svid/jwt.ts');
    return this.#validate(caller, { kind: 'jwt', audience }, (bundles, now) =>
      verifyJwtSvid(token, audience, bundles, now),
    );
  }

  /**
   * All but the proof of possession, which only the one can ask for to whom the token is presented.
   *
   * @throws MayflyError as {@link validateJwt}
   */
  async validateWit(caller: ProcessInstance, token: string): Promise<VerifiedWitSvid> {
    const { verifyWitSvid } = await import('../svid/wit.ts');
    return this.#validate(caller, { kind: 'wit' }, (bundles, now) => verifyWitSvid(token, bundles, now));
  }

  async #validate<V extends VerifiedToken>(
    caller: ProcessInstance,
    what: Pick<UseEvent, 'kind' | 'audience'>,
    verify: Verify<V>,
  ): Promise<V> {
    const { clock, ledger, leases } = this.#parts;
    const { own: bundle, federated } = await leases.of(caller).verifiers();
    const bundles = new Map([bundle, ...federated].map((each) => [each.trustDomain, each]));
    const asked = { ...what, caller: { pid: caller.pid, start_time: caller.startTime, uid: caller.uid } };
    // Of a token that does not verify nothing is believed, not even whose it says it is.
    let named: Named = {};
    try {
      const verified = await verify(bundles, clock.now());
      // A token of another trust domain may have the id of one of ours.
      const own = trustDomainOf(verified.id) === bundle.trustDomain;
      named = this.#named(verified, own);
      if (own) this.#mustNotBeRevoked(verified.jti);
      ledger.use({ type: 'svid.validated', ...asked, ...named });
      return verified;
    } catch (error) {
      if (isMayflyError(error, 'TOKEN_INVALID')) {
        ledger.use({ type: 'svid.rejected', ...asked, ...named, reason: error.message });
      }
      throw error;
    }
  }

  #mustNotBeRevoked(jti: string | undefined): void {
    const reason = jti === undefined ? undefined : this.#parts.revocation.tokenRevoked(jti);
    if (reason !== undefined) throw new MayflyError('TOKEN_INVALID', `token was revoked (${reason})`);
  }

  #named({ id, jti }: VerifiedToken, own: boolean): Named {
    const decision = jti !== undefined && own ? this.#parts.ledger.state.decisionOf(jti) : undefined;
    return { spiffe_id: id, ...(jti !== undefined && { jti }), ...(decision !== undefined && { decision }) };
  }
}
