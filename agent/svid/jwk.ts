import type { KeyObject, webcrypto } from 'node:crypto';
import { createPublicKey, hash } from 'node:crypto';

/** The members of a public key that verifies signatures in JOSE: exactly those that are the key (RFC 7518 §6), none of them private. */
export type PublicJwk =
  | { readonly kty: 'EC'; readonly crv: string; readonly x: string; readonly y: string }
  | { readonly kty: 'RSA'; readonly n: string; readonly e: string };

/** A workload's public key, with the one algorithm that it is used with: what a WIT-SVID confirms (WIT-SVID §3.2). */
export type ConfirmationKey = PublicJwk & { readonly alg: string };

const RSA_ALGORITHMS: readonly string[] = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'];
const EC_ALGORITHMS: ReadonlyMap<string, readonly string[]> = new Map([
  ['P-256', ['ES256']],
  ['P-384', ['ES384']],
  ['P-521', ['ES512']],
]);

const MIN_RSA_BITS = 2048;
/** RFC 7518 §6: the members that are secret. */
const PRIVATE_MEMBERS: readonly string[] = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'];

/** The algorithms of JWT-SVID §2.1 and WIT-SVID §2.3, which are all there are: no `none`, and none with a shared secret. */
export const TOKEN_ALGORITHMS: readonly string[] = [...RSA_ALGORITHMS, ...[...EC_ALGORITHMS.values()].flat()];

/** The algorithms that a key may verify: the one of its curve, or any of RSA's. None for a curve that SPIFFE does not know. */
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

/**
 * The public key that a JWK from elsewhere holds: through OpenSSL and back, so that a point off its curve is refused and other members
 * are dropped. `undefined` for a key type or a curve that is of no use here.
 *
 * @throws Error whose message says what is wrong with it, in words that go behind its name
 */
export function parsePublicJwk(members: Readonly<Record<string, unknown>>): PublicJwk | undefined {
  const { kty, crv, x, y, n, e } = members;
  if (kty !== 'EC' && kty !== 'RSA') return undefined;
  if (kty === 'EC' && typeof crv === 'string' && !EC_ALGORITHMS.has(crv)) return undefined;
  let publicKey: KeyObject;
  try {
    publicKey = createPublicKey({ key: { kty, crv, x, y, n, e } as webcrypto.JsonWebKey, format: 'jwk' });
  } catch (cause) {
    throw new Error('has no usable public key', { cause });
  }
  const bits = publicKey.asymmetricKeyDetails?.modulusLength;
  if (bits !== undefined && bits < MIN_RSA_BITS) {
    throw new Error(`has an RSA key of ${bits} bits; at least ${MIN_RSA_BITS}`);
  }
  return publicJwkOf(publicKey);
}

/** The first of its private members that a JWK has, whoever put it there by mistake. */
export function exposedMember(jwk: Readonly<Record<string, unknown>>): string | undefined {
  return PRIVATE_MEMBERS.find((member) => jwk[member] !== undefined);
}

/** The thumbprint of RFC 7638: a `kid` that follows from the key, so that no two keys share one. */
export function thumbprintOf(jwk: PublicJwk): string {
  // §3.2, §3.3: the required members alone, in lexicographic order, without white space.
  const members =
    jwk.kty === 'EC' ? { crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y } : { e: jwk.e, kty: jwk.kty, n: jwk.n };
  return hash('sha256', JSON.stringify(members), 'base64url');
}
