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

test('a private number that starts with a zero octet keeps it', async () => {
  // One in 256: none among 4000 has the odds of 1 in 6 million.
  let padded = 0;
  for (let count = 0; count < 4000 && padded === 0; count++) {
    const { publicKey, privateKey } = await generateLeafKey('ec-p256');
    const pkcs8 = privateKey.reveal();
    if (pkcs8[36] !== 0) continue;
    padded += 1;
    const key = createPrivateKey({ key: pkcs8, type: 'pkcs8', format: 'der' });
    expect(createPublicKey(key).export({ type: 'spki', format: 'der' })).toEqual(publicKey);
    expect(pkcs8).toHaveLength(138);
  }
  expect(padded).toBe(1);
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
