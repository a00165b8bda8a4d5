import type { Audiences } from '../kernel/audience.ts';
import type { SpiffeId } from '../kernel/spiffe-id.ts';
import { JwsSigner, numericDate } from './jws-signer.ts';
import type { SigningKey } from './signing-key.ts';

/** What a token says. Times in milliseconds since the epoch, cut to the second. */
export interface JwtTerms {
  readonly id: SpiffeId;
  readonly audiences: Audiences;
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly jti: string;
}

/** Signs JWT-SVIDs with one key. */
export class JwtSigner {
  readonly #signer: JwsSigner;

  constructor(key: SigningKey, kid: string) {
    this.#signer = new JwsSigner(key, kid, 'JWT');
  }

  /** Signs one token, in compact serialization. */
  sign({ audiences, expiresAt, id, issuedAt, jti }: JwtTerms): string {
    return this.#signer.sign({
      sub: id,
      aud: audiences,
      exp: numericDate(expiresAt),
      iat: numericDate(issuedAt),
      jti,
    });
  }
}
