import { MayflyError } from '../../kernel/errors.ts';

/** What an HTTP/2 client sends first (RFC 9113, section 3.4). */
export const PREFACE: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

/** The length of a frame's own header: 24 bits length, 8 type, 8 flags, 1 reserved, 31 stream (RFC 9113, section 4.1). */
export const FRAME_HEADER_BYTES = 9;

/** SETTINGS_MAX_FRAME_SIZE where the server names no other, and ours never does: the payload of one frame. */
export const MAX_FRAME_BYTES = 16_384;

/** Frame types (RFC 9113, section 6). */
export const FrameType = { data: 0x0, headers: 0x1, settings: 0x4, ping: 0x6, continuation: 0x9 } as const;

/** Frame flags. END_STREAM and ACK are one bit: which of the two it is depends on the type. */
export const FrameFlag = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

const PRIORITY_BYTES = 5;
const NO_BYTES = Buffer.alloc(0);

/** The payload's length of the frame whose header begins at `at`. */
export function frameLength(bytes: Buffer, at: number): number {
  return bytes.readUIntBE(at, 3);
}

export function frameType(bytes: Buffer, at: number): number {
  return bytes[at + 3] ?? 0;
}

export function frameFlags(bytes: Buffer, at: number): number {
  return bytes[at + 4] ?? 0;
}

export function frameStream(bytes: Buffer, at: number): number {
  // The reserved bit is ignored on receipt.
  return bytes.readUInt32BE(at + 5) & 0x7fff_ffff;
}

/** One frame with its header. */
export function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  payload.copy(bytes, FRAME_HEADER_BYTES);
  return bytes;
}

/** A SETTINGS frame that says nothing but that an HTTP/2 server is here. */
export const EMPTY_SETTINGS: Buffer = frame(FrameType.settings, 0, 0, NO_BYTES);

/** The answer to the PING frame that begins at `at`. */
export function pingAck(bytes: Buffer, at: number): Buffer {
  const payload = bytes.subarray(at + FRAME_HEADER_BYTES, at + FRAME_HEADER_BYTES + 8);
  return frame(FrameType.ping, FrameFlag.ack, 0, payload);
}

/** What a HEADERS frame and its CONTINUATION frames say together. */
export interface HeaderFrames {
  readonly stream: number;
  readonly endStream: boolean;
  /** The five bytes of a deprecated priority, or none. */
  readonly priority: Buffer;
  /** The header block, still HPACK. */
  readonly block: Buffer;
}

/**
 * Joins the HEADERS frame and its CONTINUATION frames that fill `bytes` from `start` to `end`.
 *
 * @throws MayflyError `INVALID_REQUEST` when the padding or the priority does not fit into the frame
 */
export function joinHeaderFrames(bytes: Buffer, start: number, end: number): HeaderFrames {
  const flags = frameFlags(bytes, start);
  const firstEnd = start + FRAME_HEADER_BYTES + frameLength(bytes, start);
  let from = start + FRAME_HEADER_BYTES;
  let padding = 0;
  if (flags & FrameFlag.padded) {
    padding = bytes[from] ?? 0;
    from += 1;
  }
  const priority = flags & FrameFlag.priority ? bytes.subarray(from, from + PRIORITY_BYTES) : NO_BYTES;
  from += priority.length;
  if (from + padding > firstEnd || (flags & FrameFlag.priority && priority.length < PRIORITY_BYTES)) {
    throw new MayflyError('INVALID_REQUEST', 'the padding or priority of a HEADERS frame is longer than the frame');
  }
  const stream = frameStream(bytes, start);
  const endStream = (flags & FrameFlag.endStream) !== 0;
  const fragment = bytes.subarray(from, firstEnd - padding);
  if (firstEnd === end) return { stream, endStream, priority, block: fragment };

  const fragments = [fragment];
  for (let at = firstEnd; at < end; ) {
    const next = at + FRAME_HEADER_BYTES + frameLength(bytes, at);
    fragments.push(bytes.subarray(at + FRAME_HEADER_BYTES, next));
    at = next;
  }
  return { stream, endStream, priority, block: Buffer.concat(fragments) };
}

/** Writes a HEADERS frame, and CONTINUATION frames where the block does not fit into one. */
export function splitHeaderFrames({ stream, endStream, priority, block }: HeaderFrames): Buffer {
  const first = MAX_FRAME_BYTES - priority.length;
  let flags = block.length <= first ? FrameFlag.endHeaders : 0;
  if (endStream) flags |= FrameFlag.endStream;
  if (priority.length > 0) flags |= FrameFlag.priority;
  const frames = [frame(FrameType.headers, flags, stream, Buffer.concat([priority, block.subarray(0, first)]))];
  for (let at = first; at < block.length; at += MAX_FRAME_BYTES) {
    const last = at + MAX_FRAME_BYTES >= block.length ? FrameFlag.endHeaders : 0;
    frames.push(frame(FrameType.continuation, last, stream, block.subarray(at, at + MAX_FRAME_BYTES)));
  }
  return Buffer.concat(frames);
}
