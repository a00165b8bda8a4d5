import { MayflyError } from '../../kernel/errors.ts';
import {
  FRAME_HEADER_BYTES,
  FrameFlag,
  FrameType,
  frameFlags,
  frameLength,
  frameStream,
  frameType,
  MAX_FRAME_BYTES,
} from './frames.ts';
import { GrowingBuffer } from './growing-buffer.ts';

const PING_BYTES = FRAME_HEADER_BYTES + 8;

/** Takes a client's bytes in their order. Each range belongs to the sink for good: nobody writes into it any more. */
export interface FrameSink {
  /** Bytes that nobody needs to understand: a frame or a part of one. */
  pass(data: Buffer, start: number, end: number): void;
  /** A whole SETTINGS frame that acknowledges. */
  settingsAck(data: Buffer, start: number, end: number): void;
  /** A whole PING frame that asks. */
  ping(data: Buffer, start: number, end: number): void;
  /** A whole HEADERS frame with all of its CONTINUATION frames. */
  headers(data: Buffer, start: number, end: number): void;
}

/**
 * Cuts what a client sends after the preface into what must be looked at and what need not. Holds back only what must be whole to
 * be looked at, which is `maxHeaderBytes` at most; each byte is looked at once, however small the pieces are that it comes in.
 */
export class FrameSplitter {
  readonly #maxHeaderBytes: number;
  /** An unfinished frame, or HEADERS with unfinished CONTINUATION; begins with a frame's header. */
  readonly #held = new GrowingBuffer();
  /** How much must be held before another look can find more. */
  #needed = 0;
  /** Where in what is held the look goes on: the frames of the header block before it have been seen. */
  #seen = 0;
  /** What is still to come of a frame whose beginning was passed. */
  #payload = 0;

  constructor(maxHeaderBytes: number) {
    this.#maxHeaderBytes = maxHeaderBytes;
  }

  /** What was pushed and not yet given to the sink. */
  get held(): Buffer {
    return this.#held.view();
  }

  /**
   * @throws MayflyError `OVER_LIMIT` for a frame over 16,384 bytes or a header block over the limit, `INVALID_REQUEST` for frames
   *   in an order that has no meaning; the splitter must not be used again
   */
  push(chunk: Buffer, sink: FrameSink): void {
    const held = this.#held.length > 0;
    if (held) {
      this.#held.append(chunk, 0, chunk.length);
      if (this.#held.length < this.#needed) return;
    }
    const data = held ? this.#held.view() : chunk;
    let at = this.#finishPayload(data, sink);
    while (at < data.length) {
      const next = this.#take(data, at, sink);
      if (next === undefined) break;
      at = next;
    }
    if (held && at === 0) return;
    this.#held.clear();
    if (at < data.length) this.#held.append(data, at, data.length);
  }

  #finishPayload(data: Buffer, sink: FrameSink): number {
    const length = Math.min(this.#payload, data.length);
    if (length > 0) sink.pass(data, 0, length);
    this.#payload -= length;
    return length;
  }

  /** Gives what begins at `at` to the sink and returns its end; `undefined` when it must be held because more is needed. */
  #take(data: Buffer, at: number, sink: FrameSink): number | undefined {
    if (data.length - at < FRAME_HEADER_BYTES) return this.#hold(FRAME_HEADER_BYTES, 0);
    const end = frameEnd(data, at);
    const type = frameType(data, at);
    if (type === FrameType.headers) return this.#takeHeaders(data, at, sink);
    if (type === FrameType.settings && isAck(data, at) && end === at + FRAME_HEADER_BYTES) {
      sink.settingsAck(data, at, end);
      return end;
    }
    if (type === FrameType.ping && !isAck(data, at) && end === at + PING_BYTES) {
      if (end > data.length) return this.#hold(PING_BYTES, 0);
      sink.ping(data, at, end);
      return end;
    }
    const passed = Math.min(end, data.length);
    sink.pass(data, at, passed);
    this.#payload = end - passed;
    return passed;
  }

  #takeHeaders(data: Buffer, start: number, sink: FrameSink): number | undefined {
    let at = start + this.#seen;
    for (;;) {
      if (data.length - at < FRAME_HEADER_BYTES) return this.#hold(at - start + FRAME_HEADER_BYTES, at - start);
      const end = frameEnd(data, at);
      if (at > start && !continues(data, start, at)) {
        throw new MayflyError('INVALID_REQUEST', 'a header block is interrupted by another frame');
      }
      // The frames' own headers count: a block may go on for ever in CONTINUATION frames that are empty.
      if (end - start > this.#maxHeaderBytes) {
        throw new MayflyError('OVER_LIMIT', `a header block is larger than ${this.#maxHeaderBytes} bytes`);
      }
      if (end > data.length) return this.#hold(end - start, at - start);
      if (frameFlags(data, at) & FrameFlag.endHeaders) {
        this.#seen = 0;
        sink.headers(data, start, end);
        return end;
      }
      at = end;
    }
  }

  #hold(needed: number, seen: number): undefined {
    this.#needed = needed;
    this.#seen = seen;
  }
}

function isAck(data: Buffer, at: number): boolean {
  return (frameFlags(data, at) & FrameFlag.ack) !== 0;
}

function continues(data: Buffer, start: number, at: number): boolean {
  return frameType(data, at) === FrameType.continuation && frameStream(data, at) === frameStream(data, start);
}

function frameEnd(data: Buffer, at: number): number {
  const length = frameLength(data, at);
  if (length > MAX_FRAME_BYTES) {
    throw new MayflyError('OVER_LIMIT', `a frame of ${length} bytes; at most ${MAX_FRAME_BYTES} are allowed`);
  }
  return at + FRAME_HEADER_BYTES + length;
}
