/**
 * Writes DER (X.690): what certificates and CRLs are made of, and no more. Every function returns one complete element, so that
 * what never changes is encoded once and joined ever after.
 */

const CONSTRUCTED = 0x20;
const CONTEXT = 0x80;

// RFC 5280 §4.1.2.5: UTCTime through the year 2049, GeneralizedTime from 2050 on.
const GENERALIZED_FROM = Date.UTC(2050, 0, 1);

const ZERO = Buffer.alloc(1);

/** An element of any tag around parts that are joined as they stand. */
export function element(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  let length = 0;
  for (const part of parts) length += part.length;
  const lengthBytes = length < 0x80 ? 0 : length < 0x100 ? 1 : length < 0x1_0000 ? 2 : length < 0x100_0000 ? 3 : 4;
  const bytes = Buffer.allocUnsafe(2 + lengthBytes + length);
  bytes[0] = tag;
  if (lengthBytes === 0) {
    bytes[1] = length;
  } else {
    bytes[1] = 0x80 | lengthBytes;
    bytes.writeUIntBE(length, 2, lengthBytes);
  }
  let at = 2 + lengthBytes;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export function sequence(...elements: readonly Uint8Array[]): Buffer {
  return element(0x30, ...elements);
}

/** A SET of one member: sets of several would have to be sorted, and nothing here has one. */
export function setOf(member: Uint8Array): Buffer {
  return element(0x31, member);
}

/** `[n]` around complete elements (EXPLICIT, or an IMPLICIT constructed type whose members these are). */
export function context(n: number, ...elements: readonly Uint8Array[]): Buffer {
  return element(CONTEXT | CONSTRUCTED | n, ...elements);
}

/** `[n]` in place of a primitive type's own tag (IMPLICIT), around its content. */
export function contextPrimitive(n: number, content: Uint8Array): Buffer {
  return element(CONTEXT | n, content);
}

export function boolean(value: boolean): Buffer {
  return Buffer.from([0x01, 0x01, value ? 0xff : 0x00]);
}

/** A non-negative INTEGER from its big-endian bytes, in the fewest octets (X.690 §8.3.2). */
export function integer(magnitude: Uint8Array): Buffer {
  let start = 0;
  while (start < magnitude.length - 1 && magnitude[start] === 0) start += 1;
  const rest = magnitude.subarray(start);
  // A leading bit of one would make the number negative.
  return (rest[0] ?? 0x80) & 0x80 ? element(0x02, ZERO, rest) : element(0x02, rest);
}

/** A non-negative INTEGER up to 2^53 - 1. */
export function smallInteger(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return integer(bytes);
}

export function enumerated(value: number): Buffer {
  return element(0x0a, Buffer.from([value]));
}

export function bitString(bytes: Uint8Array): Buffer {
  return element(0x03, ZERO, bytes);
}

/** A BIT STRING of named bits, the highest of them last: trailing zero bits are left out (X.690 §11.2.2). */
export function namedBits(...bits: readonly [number, ...number[]]): Buffer {
  const highest = Math.max(...bits);
  const bytes = Buffer.alloc((highest >> 3) + 1);
  for (const bit of bits) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
  return element(0x03, Buffer.from([7 - (highest & 7)]), bytes);
}

export function octetString(bytes: Uint8Array): Buffer {
  return element(0x04, bytes);
}

export function utf8String(text: string): Buffer {
  return element(0x0c, Buffer.from(text, 'utf8'));
}

/** An OBJECT IDENTIFIER from its dotted form. */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...arcs] = dotted.split('.').map(Number);
  const bytes: number[] = [];
  for (const arc of [first * 40 + second, ...arcs]) {
    const septets = [arc & 0x7f];
    for (let rest = arc >>> 7; rest > 0; rest >>>= 7) septets.unshift(0x80 | (rest & 0x7f));
    bytes.push(...septets);
  }
  return element(0x06, Buffer.from(bytes));
}

/** A time as RFC 5280 wants it, from milliseconds since the epoch; fractions of a second are cut off. */
export function time(ms: number): Buffer {
  const date = new Date(ms);
  const year = date.getUTCFullYear();
  const generalized = ms >= GENERALIZED_FROM;
  const digits = Buffer.allocUnsafe(generalized ? 15 : 13);
  let at = 0;
  const write = (twoDigits: number) => {
    digits[at] = 0x30 + Math.trunc(twoDigits / 10);
    digits[at + 1] = 0x30 + (twoDigits % 10);
    at += 2;
  };
  if (generalized) write(Math.trunc(year / 100));
  write(year % 100);
  write(date.getUTCMonth() + 1);
  write(date.getUTCDate());
  write(date.getUTCHours());
  write(date.getUTCMinutes());
  write(date.getUTCSeconds());
  digits[at] = 0x5a;
  return element(generalized ? 0x18 : 0x17, digits);
}
