import { createECDH, generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import { Secret } from '../kernel/secret.ts';

/** What the keys of workloads may be. */
export type LeafKeyType = 'ec-p256' | 'ec-p384' | 'rsa-2048';

/** A key pair that one workload alone will hold. */
export interface LeafKey {
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey: Buffer;
  /** PKCS#8 DER. Whoever asked owns it, and destroys it. */
  readonly privateKey: Secret;
}

interface Curve {
  readonly name: string;
  readonly privateBytes: number;
  /** PKCS#8 (RFC 5958) around ECPrivateKey (RFC 5915 §3), up to the private number. */
  readonly pkcs8Prefix: Buffer;
  /** Between the private number and the point, which is 04, x, y. */
  readonly pkcs8Middle: Buffer;
  /** SubjectPublicKeyInfo up to the point (RFC 5480 §2). */
  readonly publicKeyPrefix: Buffer;
}

const P256: Curve = {
  name: 'prime256v1',
  privateBytes: 32,
  pkcs8Prefix: hex('308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420'),
  pkcs8Middle: hex('a144034200'),
  publicKeyPrefix: hex('3059301306072a8648ce3d020106082a8648ce3d030107034200'),
};
const P384: Curve = {
  name: 'secp384r1',
  privateBytes: 48,
  pkcs8Prefix: hex('3081b6020100301006072a8648ce3d020106052b8104002204819e30819b0201010430'),
  pkcs8Middle: hex('a164036200'),
  publicKeyPrefix: hex('3076301006072a8648ce3d020106052b81040022036200'),
};

const ZEROS = Buffer.alloc(P384.privateBytes);

const GENERATORS: Readonly<Record<LeafKeyType, () => LeafKey | Promise<LeafKey>>> = {
  'ec-p256': () => generateOnCurve(P256),
  'ec-p384': () => generateOnCurve(P384),
  'rsa-2048': generateRsa,
};

const generateInPool = promisify(generateKeyPair);

/**
 * Makes a key pair for a workload. EC keys are made at once: 35 µs for P-256, where the way to the thread pool and back takes 140,
 * and 600 for P-384. RSA takes tens of milliseconds and goes to the pool.
 */
export async function generateLeafKey(type: LeafKeyType): Promise<LeafKey> {
  return GENERATORS[type]();
}

/**
 * OpenSSL makes the numbers and the encodings around them are constant: its own encoders take longer than making the key, and an
 * export as JWK would leave the private number in a string that nobody can zero.
 */
function generateOnCurve(curve: Curve): LeafKey {
  const pair = createECDH(curve.name);
  const point = pair.generateKeys();
  const number = pair.getPrivateKey();
  // One key in 256 starts with a zero octet, which OpenSSL leaves out and RFC 5915 §3 does not.
  const padding = ZEROS.subarray(0, curve.privateBytes - number.length);
  const pkcs8 = Buffer.concat([curve.pkcs8Prefix, padding, number, curve.pkcs8Middle, point]);
  number.fill(0);
  return { publicKey: Buffer.concat([curve.publicKeyPrefix, point]), privateKey: new Secret(pkcs8) };
}

async function generateRsa(): Promise<LeafKey> {
  const { publicKey, privateKey } = await generateInPool('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'der' },
    privateKeyEncoding: { type: 'pkcs8', format: 'der' },
  });
  return { publicKey, privateKey: new Secret(privateKey) };
}

function hex(text: string): Buffer {
  return Buffer.from(text, 'hex');
}
