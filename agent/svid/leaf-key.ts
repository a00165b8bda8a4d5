import type { ECDH } from 'node:crypto';
import { createECDH, generateKeyPair, randomBytes } from 'node:crypto';
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

const MAX_REFUSED = 4;

type Random = (bytes: number) => Buffer;

const GENERATORS: Readonly<Record<LeafKeyType, (random: Random) => LeafKey | Promise<LeafKey>>> = {
  'ec-p256': (random) => generateOnCurve(P256, random),
  'ec-p384': (random) => generateOnCurve(P384, random),
  'rsa-2048': generateRsa,
};

const generateInPool = promisify(generateKeyPair);

/**
 * Makes a key pair for a workload. EC keys are made at once: 20 µs for P-256, where the way to the thread pool and back takes 140,
 * and 600 for P-384. RSA takes tens of milliseconds and goes to the pool.
 *
 * @param random where the numbers of EC keys come from; the system's generator unless a test says otherwise
 */
export async function generateLeafKey(type: LeafKeyType, random: Random = randomBytes): Promise<LeafKey> {
  return GENERATORS[type](random);
}

/**
 * By testing candidates (FIPS 186-5 §A.2.2): a random number of the curve's size is the key unless it is 0 or not below the
 * order, which OpenSSL judges. With the constant encodings around it that takes less than half of what OpenSSL's own key and encoders
 * do, and the number is never in a string, as it is in a JWK, that nobody can zero.
 */
function generateOnCurve(curve: Curve, random: Random): LeafKey {
  const pair = createECDH(curve.name);
  const number = pickNumber(pair, curve, random);
  const point = pair.getPublicKey();
  const pkcs8 = Buffer.concat([curve.pkcs8Prefix, number, curve.pkcs8Middle, point]);
  number.fill(0);
  return { publicKey: Buffer.concat([curve.publicKeyPrefix, point]), privateKey: new Secret(pkcs8) };
}

function pickNumber(pair: ECDH, curve: Curve, random: Random): Buffer {
  for (let refused = 0; ; refused++) {
    const number = random(curve.privateBytes);
    try {
      pair.setPrivateKey(number);
      return number;
    } catch (error) {
      // One candidate in 2^32 is refused on P-256: several in a row are a broken generator.
      if (refused === MAX_REFUSED) throw error;
    }
  }
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
