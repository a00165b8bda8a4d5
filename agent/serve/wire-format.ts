/**
 * Protobuf fields written by hand, for messages with a private key inside: an encoder would copy the key, level by level, into
 * buffers and strings that nobody can wipe. Here it goes straight into the one buffer that is sent.
 *
 * Messages that are joined are one message with the fields of all, so that only what leads to the key is written so; the rest comes
 * encoded, as plain bytes.
 */

/** Bytes of a known length that are made where they are sent. */
export interface Part {
  readonly length: number;
  /** Writes all of it at `at`. */
  write(into: Buffer, at: number): void;
}

// Protocol Buffers, encoding: the wire type of strings, bytes and messages.
const LENGTH_DELIMITED = 2;

/** Bytes as they stand. */
export function bytesPart(bytes: Uint8Array): Part {
  return { length: bytes.length, write: (into, at) => into.set(bytes, at) };
}

/** A string, bytes or message field with its tag and length. */
export function field(number: number, ...content: readonly Part[]): Part {
  const tag = (number << 3) | LENGTH_DELIMITED;
  const inner = lengthOf(content);
  const header = varintLength(tag) + varintLength(inner);
  return {
    length: header + inner,
    write(into, at) {
      const lengthAt = writeVarint(into, at, tag);
      writeAll(content, into, writeVarint(into, lengthAt, inner));
    },
  };
}

/** All of them in a buffer of their own: no slice of a pool that is shared with others. */
export function joined(...parts: readonly Part[]): Buffer {
  const buffer = Buffer.alloc(lengthOf(parts));
  writeAll(parts, buffer, 0);
  return buffer;
}

function writeAll(parts: readonly Part[], into: Buffer, start: number): void {
  let at = start;
  for (const part of parts) {
    part.write(into, at);
    at += part.length;
  }
}

function lengthOf(parts: readonly Part[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0);
}

function writeVarint(into: Buffer, at: number, value: number): number {
  let rest = value;
  let next = at;
  for (; rest > 0x7f; rest >>>= 7) into[next++] = (rest & 0x7f) | 0x80;
  into[next] = rest;
  return next + 1;
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value >>> 7; rest > 0; rest >>>= 7) length += 1;
  return length;
}
