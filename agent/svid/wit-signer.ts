import type { SpiffeId } from '../kernel/spiffe-id.ts';
import type { ConfirmationKey } from './jwk.ts';
import { JwsSigner, numericDate } from './jws-signer.ts';
import type { SigningKey } from './signing-key.ts';

/** What a WIT-SVID says. Times in milliseconds since the epoch, cut to the second. */
export interface WitTerms {
  readonly id: SpiffeId;
  /** The workload's own. */
  readonly confirmation: ConfirmationKey;
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly jti: string;
}

/**
 * Signs WIT-SVIDs with one key. No `aud`, which the standard forbids (§3.8), since the proof of possession is what is for somebody; and
 * no `iss`, so that nobody's OpenID Connect library takes one for an ID token (§3.7).
 */
export class WitSigner {
  readonly #signer: JwsSigner;

  constructor(key: SigningKey, kid: string) {
    this.#signer = new JwsSigner(key, kid, 'wit+jwt');
  }

  /** Signs one token, in compact serialization. */
  sign({ confirmation, expiresAt, id, issuedAt, jti }: WitTerms): string {
    return this.#signer.sign({
      sub: id,
      exp: numericDate(expiresAt),
      iat: numericDate(issuedAt),
      jti,
      cnf: { jwk: confirmation },
    });
  }
}
