const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const ALPHABETS = {
  /** RFC 4648 §4, with padding. */
  base64: Buffer.from(`${DIGITS}+/`, 'latin1'),
  /** RFC 4648 §5, without padding (RFC 7515 §2). */
  base64url: Buffer.from(`${DIGITS}-_`, 'latin1'),
} as const;

const PADDING = 0x3d;

/**
 * Writes a secret in base64 at `at`. No text is made of it on the way: a string could not be wiped.
 *
 * @returns where it ends
 */
export function writeBase64(bytes: Uint8Array, into: Buffer, at: number, variant: keyof typeof ALPHABETS): number {
  const alphabet = ALPHABETS[variant];
  let next = at;
  for (let from = 0; from < bytes.length; from += 3) {
    const left = Math.min(3, bytes.length - from);
    const group = ((bytes[from] ?? 0) << 16) | ((bytes[from + 1] ?? 0) << 8) | (bytes[from + 2] ?? 0);
    for (let digit = 0; digit <= left; digit += 1) into[next++] = alphabet[(group >> (18 - 6 * digit)) & 0x3f] ?? 0;
    if (variant === 'base64') for (let missing = left; missing < 3; missing += 1) into[next++] = PADDING;
  }
  return next;
}
