import { createPublicKey } from 'node:crypto';
import { Secret } from '../kernel/secret.ts';
import { elementsIn } from './der-reader.ts';
import type { ConfirmationKey } from './jwk.ts';
import { algorithmsOf, publicJwkOf } from './jwk.ts';
import type { LeafKeyType } from './leaf-key.ts';
import { generateLeafKey } from './leaf-key.ts';
import { writeBase64 } from './secret-base64.ts';

/** A key pair that one workload alone will hold, to prove that a WIT-SVID is its own. */
export interface WitKey {
  readonly confirmation: ConfirmationKey;
  /** A private JWK (RFC 7517) in UTF-8. Whoever asked owns it, and destroys it. */
  readonly privateKey: Secret;
}

/** A member of a JWK that is secret. */
interface PrivateMember {
  readonly name: string;
  readonly value: Buffer;
}

// RFC 8017 §A.1.2, behind version, modulus and public exponent; RFC 7518 §6.3.2 has them in the same order.
const RSA_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi'];
const FIRST_RSA_MEMBER = 3;

/**
 * Makes a key pair for a workload, and writes its JWK straight into the buffer that is kept: a string with a private member in it, as
 * Node's own export would be, could never be zeroed.
 *
 * @param random where the numbers of EC keys come from; the system's generator unless a test says otherwise
 */
export async function generateWitKey(type: LeafKeyType, random?: (bytes: number) => Buffer): Promise<WitKey> {
  const { publicKey, privateKey: pkcs8 } = await generateLeafKey(type, random);
  try {
    const jwk = publicJwkOf(createPublicKey({ key: publicKey, format: 'der', type: 'spki' }));
    // The first is what every verifier knows: RS256 for an RSA key.
    const alg = jwk === undefined ? undefined : algorithmsOf(jwk)[0];
    if (jwk === undefined || alg === undefined) throw new Error(`a key of type ${type} has no JWK`);
    const confirmation = Object.freeze({ ...jwk, alg });
    return { confirmation, privateKey: new Secret(privateJwk(confirmation, pkcs8.reveal())) };
  } finally {
    pkcs8.destroy();
  }
}

function privateJwk(confirmation: ConfirmationKey, pkcs8: Buffer): Buffer {
  const members = privateMembersIn(pkcs8, confirmation.kty);
  const open = Buffer.from(JSON.stringify(confirmation).slice(0, -1), 'latin1');
  const length = members.reduce((sum, { name, value }) => sum + memberLength(name, value), open.length + 1);

  // No slice of a pool that is shared with others.
  const jwk = Buffer.alloc(length);
  let at = open.copy(jwk);
  for (const { name, value } of members) {
    at += jwk.write(`,"${name}":"`, at, 'latin1');
    at = writeBase64(value, jwk, at, 'base64url');
    at += jwk.write('"', at, 'latin1');
  }
  jwk.write('}', at, 'latin1');
  return jwk;
}

/** The secret numbers of a PKCS#8 key (RFC 5958 §2), as views of it. */
function privateMembersIn(pkcs8: Buffer, kty: ConfirmationKey['kty']): readonly PrivateMember[] {
  const [info] = elementsIn(pkcs8);
  const [, , octets] = elementsIn(info?.content ?? Buffer.of());
  const [key] = elementsIn(octets?.content ?? Buffer.of());
  const elements = elementsIn(key?.content ?? Buffer.of()).map(({ content }) => content);
  // RFC 5915 §3: version, then the number in as many octets as the curve's order, which is what RFC 7518 §6.2.2 wants.
  if (kty === 'EC') return named(['d'], elements.slice(1));
  return named(RSA_MEMBERS, elements.slice(FIRST_RSA_MEMBER).map(withoutLeadingZeros));
}

function named(names: readonly string[], values: readonly Buffer[]): readonly PrivateMember[] {
  return names.map((name, index) => {
    const value = values[index];
    if (value === undefined) throw new Error(`a private key has no ${name}`);
    return { name, value };
  });
}

/** RFC 7518 §2, Base64urlUInt: in the fewest octets. */
function withoutLeadingZeros(number: Buffer): Buffer {
  let start = 0;
  while (start < number.length - 1 && number[start] === 0) start += 1;
  return number.subarray(start);
}

function memberLength(name: string, value: Buffer): number {
  return `,"${name}":""`.length + Math.ceil((value.length * 4) / 3);
}
