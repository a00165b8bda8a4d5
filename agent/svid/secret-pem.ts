import { writeBase64 } from './secret-base64.ts';

const HEAD = Buffer.from('-----BEGIN PRIVATE KEY-----\n');
const FOOT = Buffer.from('-----END PRIVATE KEY-----\n');
const NEWLINE = 0x0a;

// RFC 7468 §2: lines of 64 characters, which are 48 bytes.
const LINE_BYTES = 48;

/** How many bytes {@link writeKeyPem} writes for a PKCS#8 key of `keyBytes` bytes. */
export function keyPemLength(keyBytes: number): number {
  return HEAD.length + Math.ceil(keyBytes / 3) * 4 + Math.ceil(keyBytes / LINE_BYTES) + FOOT.length;
}

/** Writes a PKCS#8 key in PEM (RFC 7468) at `at`. No text is made of it on the way: a string of the key could not be wiped. */
export function writeKeyPem(pkcs8: Uint8Array, into: Buffer, at: number): void {
  into.set(HEAD, at);
  let next = at + HEAD.length;
  for (let start = 0; start < pkcs8.length; start += LINE_BYTES) {
    next = writeBase64(pkcs8.subarray(start, start + LINE_BYTES), into, next, 'base64');
    into[next++] = NEWLINE;
  }
  into.set(FOOT, next);
}
