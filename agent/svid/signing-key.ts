import type { KeyObject } from 'node:crypto';
import { createPublicKey, generateKeyPairSync, hash, sign } from 'node:crypto';
import { bitString, oid, sequence } from './der.ts';

/** What an authority's own keys are. */
export type SigningKeyType = 'ec-p256' | 'ec-p384';

/** All that depends on the type of a signing key; what signs asks here and never enumerates types itself. */
export interface SigningAlgorithm {
  readonly keyType: SigningKeyType;
  readonly curve: string;
  readonly hash: string;
  /** `alg` of RFC 7518 §3.1. */
  readonly jws: string;
  /** AlgorithmIdentifier in DER (RFC 5758 §3.2: without parameters). */
  readonly identifier: Buffer;
}

const ALGORITHMS: Readonly<Record<SigningKeyType, SigningAlgorithm>> = {
  'ec-p256': {
    keyType: 'ec-p256',
    curve: 'prime256v1',
    hash: 'sha256',
    jws: 'ES256',
    identifier: sequence(oid('1.2.840.10045.4.3.2')),
  },
  'ec-p384': {
    keyType: 'ec-p384',
    curve: 'secp384r1',
    hash: 'sha384',
    jws: 'ES384',
    identifier: sequence(oid('1.2.840.10045.4.3.3')),
  },
};

/** A private key that signs certificates, lists or tokens. A `KeyObject` shows no key when printed. */
export interface SigningKey {
  readonly algorithm: SigningAlgorithm;
  readonly privateKey: KeyObject;
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey: Buffer;
}

export function generateSigningKey(type: SigningKeyType): SigningKey {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: ALGORITHMS[type].curve });
  return { algorithm: ALGORITHMS[type], privateKey, publicKey: publicKeyOf(privateKey) };
}

/** The signing key behind a private key from elsewhere, or `undefined` when it is of no type that signs here. */
export function signingKeyOf(privateKey: KeyObject): SigningKey | undefined {
  const curve = privateKey.asymmetricKeyDetails?.namedCurve;
  const algorithm = Object.values(ALGORITHMS).find((known) => known.curve === curve);
  return algorithm === undefined ? undefined : { algorithm, privateKey, publicKey: publicKeyOf(privateKey) };
}

/**
 * Signs what is to be signed and puts the three together as certificates and CRLs have it: the content, the algorithm, the signature.
 */
export function signedStructure(toBeSigned: Buffer, key: SigningKey): Buffer {
  const signature = sign(key.algorithm.hash, toBeSigned, key.privateKey);
  return sequence(toBeSigned, key.algorithm.identifier, bitString(signature));
}

/**
 * The key identifier for SKI and AKI: the first 160 bits of SHA-256 over the SubjectPublicKeyInfo. RFC 5280 §4.2.1.2 wants it
 * unique and leaves the method open; SHA-1 is what FIPS machines refuse.
 */
export function keyIdOf(publicKey: Buffer): Buffer {
  return hash('sha256', publicKey, 'buffer').subarray(0, 20);
}

function publicKeyOf(privateKey: KeyObject): Buffer {
  return createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
}
