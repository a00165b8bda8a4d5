const HEAD = Buffer.from('-----BEGIN PRIVATE KEY-----\n');
const FOOT = Buffer.from('-----END PRIVATE KEY-----\n');
const ALPHABET = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');
const PADDING = 0x3d;
const NEWLINE = 0x0a;

// RFC 7468 §2: lines of 64 characters, which are 48 bytes.
const LINE_BYTES = 48;

/** How many bytes {@link writeKeyPem} writes for a PKCS#8 key of `keyBytes` bytes. */
export function keyPemLength(keyBytes: number): number {
  return HEAD.length + Math.ceil(keyBytes / 3) * 4 + Math.ceil(keyBytes / LINE_BYTES) + FOOT.length;
}

/**
 * Writes a PKCS#8 key in PEM (RFC 7468) at `at`. No text is made of it on the way: a string of the key could not be wiped.
 */
export function writeKeyPem(pkcs8: Uint8Array, into: Buffer, at: number): void {
  let next = at;
  const put = (byte: number) => {
    into[next++] = byte;
  };
  into.set(HEAD, next);
  next += HEAD.length;
  for (let start = 0; start < pkcs8.length; start += 3) {
    if (start > 0 && start % LINE_BYTES === 0) put(NEWLINE);
    const left = pkcs8.length - start;
    const bits = ((pkcs8[start] ?? 0) << 16) | ((pkcs8[start + 1] ?? 0) << 8) | (pkcs8[start + 2] ?? 0);
    put(ALPHABET[bits >>> 18] ?? 0);
    put(ALPHABET[(bits >>> 12) & 63] ?? 0);
    put(left > 1 ? (ALPHABET[(bits >>> 6) & 63] ?? 0) : PADDING);
    put(left > 2 ? (ALPHABET[bits & 63] ?? 0) : PADDING);
  }
  put(NEWLINE);
  into.set(FOOT, next);
}
