import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { toPem } from '../../../agent/svid/certificate.ts';
import { keyPemLength, writeKeyPem } from '../../../agent/svid/secret-pem.ts';

it('writes what the general writer of PEM writes, in its place and nowhere else', () => {
  for (let length = 1; length <= 200; length++) {
    const key = randomBytes(length);
    const expected = toPem('PRIVATE KEY', key);
    expect(keyPemLength(length)).toBe(expected.length);
    const into = Buffer.alloc(expected.length + 2, 0x7e);
    writeKeyPem(key, into, 1);
    expect(into.toString('latin1')).toBe(`~${expected}~`);
  }
});
