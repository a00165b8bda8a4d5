import { createPrivateKey, createPublicKey, randomBytes, sign, verify } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { elementsIn } from '../../../agent/svid/der-reader.ts';
import { publicJwkOf } from '../../../agent/svid/jwk.ts';
import type { LeafKeyType } from '../../../agent/svid/leaf-key.ts';
import { generateWitKey } from '../../../agent/svid/wit-key.ts';

const TYPES: readonly (readonly [LeafKeyType, string, readonly string[]])[] = [
  ['ec-p256', 'ES256', ['alg', 'crv', 'd', 'kty', 'x', 'y']],
  ['ec-p384', 'ES384', ['alg', 'crv', 'd', 'kty', 'x', 'y']],
  ['rsa-2048', 'RS256', ['alg', 'd', 'dp', 'dq', 'e', 'kty', 'n', 'p', 'q', 'qi']],
];

describe.each(TYPES)('a key of type %s', (type, alg, members) => {
  test('has a JWK that others read, and what it signs verifies with what is confirmed', async () => {
    for (let zeros = 0; zeros < 4; zeros++) {
      // A number with leading zeros keeps them on a curve.
      const random = (bytes: number) => randomBytes(bytes).fill(0, 0, zeros);
      const { confirmation, privateKey } = await generateWitKey(type, random);
      const jwk = JSON.parse(privateKey.reveal().toString()) as Record<string, string>;
      expect(Object.keys(jwk).toSorted()).toEqual(members);
      expect(confirmation.alg).toBe(alg);
      const key = createPrivateKey({ key: jwk, format: 'jwk' });
      expect({ ...publicJwkOf(key), alg }).toEqual(confirmation);
      expect({ ...key.export({ format: 'jwk' }), alg }).toEqual(jwk);
      const message = randomBytes(50);
      const confirmed = createPublicKey({ key: { ...confirmation }, format: 'jwk' });
      expect(verify('sha256', message, confirmed, sign('sha256', message, key))).toBe(true);
    }
  });

  test('does not print, and is gone once it is destroyed', async () => {
    const { confirmation, privateKey } = await generateWitKey(type);
    const bytes = privateKey.reveal();
    const { d = '' } = JSON.parse(bytes.toString()) as { d?: string };
    expect(d.length).toBeGreaterThan(40);
    expect(JSON.stringify({ confirmation, privateKey })).not.toContain(d);
    privateKey.destroy();
    expect(bytes.every((byte) => byte === 0)).toBe(true);
  });
});

test('nothing of the key is left where it was generated', async () => {
  const numbers: Buffer[] = [];
  const random = (bytes: number) => {
    numbers.push(randomBytes(bytes));
    return numbers.at(-1) ?? Buffer.of();
  };
  const { privateKey } = await generateWitKey('ec-p256', random);
  expect(numbers).toHaveLength(1);
  expect(numbers[0]?.every((byte) => byte === 0)).toBe(true);
  expect(privateKey.destroyed).toBe(false);
});

test.each([
  ['a length that is longer than what there is', '3004020101'],
  ['a length of more bytes than there are', '3082'],
  ['a length of too many bytes', '30850000000001ff'],
])('what is no DER is not read: %s', (_, text) => {
  expect(() => elementsIn(Buffer.from(text, 'hex')).flatMap(({ content }) => elementsIn(content))).toThrow(
    'an element is longer than what it stands in',
  );
});
