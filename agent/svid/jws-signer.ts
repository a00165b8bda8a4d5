import { sign } from 'node:crypto';
import type { SigningKey } from './signing-key.ts';

/**
 * Signs tokens of one type with one key. It writes the JWS itself: `jose` goes through WebCrypto's thread pool and takes six times as
 * long for one token, and what is needed of RFC 7515 here is one header, encoded once, and one signature.
 */
export class JwsSigner {
  readonly #key: SigningKey;
  readonly #header: string;

  /** @param typ the header that tells one kind of token from another */
  constructor(key: SigningKey, kid: string, typ: string) {
    this.#key = key;
    this.#header = base64url(JSON.stringify({ alg: key.algorithm.jws, kid, typ }));
  }

  /** Signs one token, in compact serialization. */
  sign(claims: Readonly<Record<string, unknown>>): string {
    const signingInput = `${this.#header}.${base64url(JSON.stringify(claims))}`;
    const signature = sign(this.#key.algorithm.hash, Buffer.from(signingInput, 'latin1'), {
      key: this.#key.privateKey,
      // RFC 7518 §3.4: R and S side by side, not DER.
      dsaEncoding: 'ieee-p1363',
    });
    return `${signingInput}.${signature.toString('base64url')}`;
  }
}

/** A time as a token has it: whole seconds since the epoch. */
export function numericDate(ms: number): number {
  return Math.floor(ms / 1000);
}

function base64url(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64url');
}
