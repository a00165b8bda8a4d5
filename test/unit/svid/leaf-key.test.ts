import { createPrivateKey, createPublicKey } from 'node:crypto';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import type { LeafKeyType } from '../../../agent/svid/leaf-key.ts';
import { generateLeafKey } from '../../../agent/svid/leaf-key.ts';

const TYPES: [LeafKeyType, object][] = [
  ['ec-p256', { namedCurve: 'prime256v1' }],
  ['ec-p384', { namedCurve: 'secp384r1' }],
  ['rsa-2048', { modulusLength: 2048, publicExponent: 65537n }],
];

describe.each(TYPES)('a key of type %s', (type, details) => {
  test('is encoded byte for byte as OpenSSL would', async () => {
    const { publicKey, privateKey } = await generateLeafKey(type);
    const key = createPrivateKey({ key: privateKey.reveal(), type: 'pkcs8', format: 'der' });
    expect(key.asymmetricKeyDetails).toEqual(details);
    expect(privateKey.reveal()).toEqual(key.export({ type: 'pkcs8', format: 'der' }));
    expect(publicKey).toEqual(createPublicKey(key).export({ type: 'spki', format: 'der' }));
  });

  test('is not the one before', async () => {
    const [one, other] = await Promise.all([generateLeafKey(type), generateLeafKey(type)]);
    expect(one.publicKey.equals(other.publicKey)).toBe(false);
  });
});

describe('the number of an EC key', () => {
  /** Gives these numbers, one after the other. */
  function numbers(...hex: readonly string[]) {
    const left = [...hex];
    return () => Buffer.from(left.shift() ?? '', 'hex');
  }

  const ORDER = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551';
  const LAST = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550';
  const ONE = `${'00'.repeat(31)}01`;
  // SEC 2 §2.4.2: the base point, which is the public key of the number one.
  const BASE =
    '046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5';

  test('may be one: leading zeros stay, and the point is the base point', async () => {
    const { publicKey, privateKey } = await generateLeafKey('ec-p256', numbers(ONE));
    expect(publicKey.toString('hex')).toMatch(new RegExp(`${BASE}$`));
    const key = createPrivateKey({ key: privateKey.reveal(), type: 'pkcs8', format: 'der' });
    expect(createPublicKey(key).export({ type: 'spki', format: 'der' })).toEqual(publicKey);
    expect(privateKey.reveal()).toHaveLength(138);
  });

  test('is neither zero nor the order or above it: the next candidate is taken', async () => {
    const refused = ['00'.repeat(32), ORDER, 'ff'.repeat(32)];
    const { privateKey } = await generateLeafKey('ec-p256', numbers(...refused, LAST));
    expect(privateKey.reveal().toString('hex', 36, 68)).toBe(LAST);
  });

  test('is not waited for in vain when the generator is broken', async () => {
    await expect(generateLeafKey('ec-p256', (bytes) => Buffer.alloc(bytes))).rejects.toThrow(
      'Private key is not valid',
    );
  });

  test('is left in no buffer but the key', async () => {
    const candidate = Buffer.from(LAST, 'hex');
    await generateLeafKey('ec-p256', () => candidate);
    expect(candidate.every((byte) => byte === 0)).toBe(true);
  });
});

test('destroying the private key zeroes it and leaves the public key', async () => {
  const { publicKey, privateKey } = await generateLeafKey('ec-p256');
  const bytes = privateKey.reveal();
  privateKey.destroy();
  expect(bytes.every((byte) => byte === 0)).toBe(true);
  expect(createPublicKey({ key: publicKey, type: 'spki', format: 'der' }).asymmetricKeyType).toBe('ec');
});

test('a key pair prints no private key', async () => {
  const key = await generateLeafKey('ec-p256');
  const number = key.privateKey.reveal().subarray(36, 68);
  const printed = `${inspect(key, { depth: 5 })}${JSON.stringify(key)}`;
  expect(printed).toContain('[private key]');
  expect(printed).not.toContain(number.toString('hex'));
});
