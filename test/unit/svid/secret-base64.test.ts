import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { writeBase64 } from '../../../agent/svid/secret-base64.ts';

it.each(['base64', 'base64url'] as const)('writes what Node writes as %s, in its place and nowhere else', (variant) => {
  for (let length = 0; length <= 100; length += 1) {
    const bytes = randomBytes(length);
    const expected = bytes.toString(variant);
    const into = Buffer.alloc(expected.length + 2, 0x7e);
    expect(writeBase64(bytes, into, 1, variant)).toBe(1 + expected.length);
    expect(into.toString('latin1')).toBe(`~${expected}~`);
  }
});
