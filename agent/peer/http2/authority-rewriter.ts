import { type FrameSink, FrameSplitter } from './frame-splitter.ts';
import { FrameFlag, FrameType, frame, PREFACE } from './frames.ts';
import { RequestHeaders } from './request-headers.ts';

/**
 * What nghttp2 is given instead of something that cannot be read: HPACK index 0, a decoding error (RFC 7541, section 6.1), on the
 * last of all streams. It answers with GOAWAY and ends the connection, in the client's view as it would have done by itself.
 */
const REFUSAL = frame(FrameType.headers, FrameFlag.endHeaders | FrameFlag.endStream, 0x7fff_ffff, Buffer.from([0x80]));

/**
 * Everything that one client sends, made such that nghttp2 takes the authority of its requests. Pure: bytes in, bytes out. Frames
 * that are good as they are come out as the same memory, not copied.
 */
export class AuthorityRewriter implements FrameSink {
  readonly #splitter: FrameSplitter;
  readonly #headers = new RequestHeaders();
  #ackPending: boolean;
  #refused = false;
  #out: Buffer[] = [PREFACE];
  /** A range of one chunk that goes out as it is, and grows while what follows does so too. */
  #run: Buffer | undefined;
  #runStart = 0;
  #runEnd = 0;

  /**
   * Begins right after the client's preface. `ackPending` says that the client is still to acknowledge a SETTINGS frame of which
   * nghttp2 knows nothing: its next acknowledgement is dropped.
   */
  constructor(maxHeaderBytes: number, ackPending: boolean) {
    this.#splitter = new FrameSplitter(maxHeaderBytes);
    this.#ackPending = ackPending;
  }

  /** Takes what came from the client and returns what goes to the server. Never throws: what has no meaning ends the connection. */
  push(chunk: Buffer): readonly Buffer[] {
    if (!this.#refused) {
      try {
        this.#splitter.push(chunk, this);
      } catch {
        this.#refused = true;
        this.#emit(REFUSAL);
      }
    }
    this.#endRun();
    const out = this.#out;
    this.#out = [];
    return out;
  }

  pass(data: Buffer, start: number, end: number): void {
    if (this.#run !== data || this.#runEnd !== start) {
      this.#endRun();
      this.#run = data;
      this.#runStart = start;
    }
    this.#runEnd = end;
  }

  settingsAck(data: Buffer, start: number, end: number): void {
    if (this.#ackPending) this.#ackPending = false;
    else this.pass(data, start, end);
  }

  ping(data: Buffer, start: number, end: number): void {
    this.pass(data, start, end);
  }

  headers(data: Buffer, start: number, end: number): void {
    const rewritten = this.#headers.rewriteFrames(data, start, end);
    if (rewritten === undefined) this.pass(data, start, end);
    else this.#emit(rewritten);
  }

  #emit(bytes: Buffer): void {
    this.#endRun();
    this.#out.push(bytes);
  }

  #endRun(): void {
    if (this.#run !== undefined) this.#out.push(this.#run.subarray(this.#runStart, this.#runEnd));
    this.#run = undefined;
  }
}
