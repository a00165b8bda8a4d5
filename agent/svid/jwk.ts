import type { KeyObject } from 'node:crypto';
import { createPublicKey, hash } from 'node:crypto';

/** The members of a public key that verifies JWT-SVIDs: exactly those that are the key (RFC 7518 §6), none of them private. */
export type PublicJwk =
  | { readonly kty: 'EC'; readonly crv: string; readonly x: string; readonly y: string }
  | { readonly kty: 'RSA'; readonly n: string; readonly e: string };

const RSA_ALGORITHMS: readonly string[] = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'];
const EC_ALGORITHMS: ReadonlyMap<string, readonly string[]> = new Map([
  ['P-256', ['ES256']],
  ['P-384', ['ES384']],
  ['P-521', ['ES512']],
]);

/** The algorithms of JWT-SVID §2.1, which are all there are: no `none`, and none with a shared secret. */
export const JWT_SVID_ALGORITHMS: readonly string[] = [...RSA_ALGORITHMS, ...[...EC_ALGORITHMS.values()].flat()];

/** The algorithms that a key may verify: the one of its curve, or any of RSA's. None for a curve that JWT-SVID does not know. */
export function algorithmsOf(jwk: PublicJwk): readonly string[] {
  return jwk.kty === 'RSA' ? RSA_ALGORITHMS : (EC_ALGORITHMS.get(jwk.crv) ?? []);
}

/** The JWK of a public key, or of a private key's public half; `undefined` for a type other than EC and RSA. */
export function publicJwkOf(key: KeyObject): PublicJwk | undefined {
  const { kty, crv, x, y, n, e } = (key.type === 'private' ? createPublicKey(key) : key).export({ format: 'jwk' });
  if (kty === 'EC' && crv !== undefined && x !== undefined && y !== undefined) return { kty, crv, x, y };
  if (kty === 'RSA' && n !== undefined && e !== undefined) return { kty, n, e };
  return undefined;
}

/** The thumbprint of RFC 7638: a `kid` that follows from the key, so that no two keys share one. */
export function thumbprintOf(jwk: PublicJwk): string {
  // §3.2, §3.3: the required members alone, in lexicographic order, without white space.
  const members =
    jwk.kty === 'EC' ? { crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y } : { e: jwk.e, kty: jwk.kty, n: jwk.n };
  return hash('sha256', JSON.stringify(members), 'base64url');
}
