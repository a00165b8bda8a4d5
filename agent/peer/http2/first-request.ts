import type { Socket } from 'node:net';
import type { Alarm, Clock } from '../../kernel/clock.ts';
import { isMayflyError, MayflyError } from '../../kernel/errors.ts';
import { AuthorityRewriter } from './authority-rewriter.ts';
import { type FrameSink, FrameSplitter } from './frame-splitter.ts';
import { EMPTY_SETTINGS, PREFACE, pingAck } from './frames.ts';
import { GrowingBuffer } from './growing-buffer.ts';
import { RequestHeaders } from './request-headers.ts';
import { joinThroughRewriter } from './rewritten-connection.ts';

/** A connection whose first request nghttp2 will take. */
export interface ReadyConnection {
  /** What goes into the HTTP/2 server: the socket itself, with what was read of it put back, or the far end of a socket pair. */
  readonly socket: Socket;
  /** True behind a rewriter: then `socket` is not the one that the client is connected to. */
  readonly rewritten: boolean;
}

export interface FirstRequestLimits {
  /** Milliseconds until the whole preface of 24 bytes is there. */
  readonly prefaceTimeout: number;
  /** The largest header block, with the frames that carry it, in bytes. */
  readonly maxHeaderBytes: number;
  /** Milliseconds from the preface until a connection that asks nothing goes to the rewriter, which can wait as long as it likes. */
  readonly idleBeforeRewriter: number;
}

/** Makes two connected stream sockets, ready to read and write. */
export type SocketPair = () => [Socket, Socket];

// What is kept of a client that does not acknowledge, or talks without asking. Then the rewriter goes on, with back-pressure.
const MAX_KEPT_BYTES = 65_536;

// Answers to PING that a client has not read.
const MAX_UNREAD_BYTES = 16_384;

/**
 * Looks at the first bytes of a connection, since nghttp2 resets a request whose `:authority` it does not like and has no option to
 * like it. Some clients ask nothing before they have seen the server's SETTINGS: they get an empty frame of our own first, whose
 * acknowledgement is kept from nghttp2. When the first request is good the socket is handed over as if nobody had read of it; else
 * it is joined to one end of a socket pair through a rewriter, for good, and the other end is handed over.
 *
 * Resolves with what to hand over, and with `undefined` when the peer closed first. The caller owns `socket` from beginning to end:
 * it destroys it after `undefined` and after a rejection; it owns the far end of the pair too. The near end closes by itself.
 *
 * @param socket accepted with `pauseOnConnect` and without `allowHalfOpen`, nothing read
 * @throws MayflyError `INVALID_REQUEST` for what is not HTTP/2, `OVER_LIMIT` for size and time, `OVERLOADED` when there is no pair
 */
export function awaitFirstRequest(
  socket: Socket,
  limits: FirstRequestLimits,
  pair: SocketPair,
  clock: Clock,
): Promise<ReadyConnection | undefined> {
  return new FirstRequest(socket, limits, pair, clock).ready;
}

class FirstRequest implements FrameSink {
  readonly ready: Promise<ReadyConnection | undefined>;
  readonly #socket: Socket;
  readonly #limits: FirstRequestLimits;
  readonly #pair: SocketPair;
  readonly #clock: Clock;
  readonly #settle: PromiseWithResolvers<ReadyConnection | undefined>;
  readonly #splitter: FrameSplitter;
  readonly #headers = new RequestHeaders();
  /** Everything after the preface that nghttp2 is to see, but for what the splitter holds. */
  readonly #kept = new GrowingBuffer();
  #prefaceSeen = 0;
  #asked = false;
  #acked = false;
  #illegal = false;
  #alarm: Alarm;

  constructor(socket: Socket, limits: FirstRequestLimits, pair: SocketPair, clock: Clock) {
    this.#socket = socket;
    this.#limits = limits;
    this.#pair = pair;
    this.#clock = clock;
    this.#settle = Promise.withResolvers();
    this.ready = this.#settle.promise;
    this.#splitter = new FrameSplitter(limits.maxHeaderBytes);
    this.#alarm = clock.after(limits.prefaceTimeout, () => this.#reject(prefaceTooLate(limits.prefaceTimeout)));

    // Stays for good: an error is followed by 'close', where it is seen to, and without a listener it would end the agent.
    socket.on('error', ignore);
    socket.on('data', this.#onData);
    socket.on('end', this.#onClose);
    socket.on('close', this.#onClose);
    socket.write(EMPTY_SETTINGS);
    socket.resume();
  }

  pass(data: Buffer, start: number, end: number): void {
    this.#kept.append(data, start, end);
  }

  settingsAck(data: Buffer, start: number, end: number): void {
    if (this.#acked) this.pass(data, start, end);
    this.#acked = true;
  }

  ping(data: Buffer, start: number): void {
    this.#socket.write(pingAck(data, start));
  }

  headers(data: Buffer, start: number, end: number): void {
    this.#asked = true;
    if (this.#headers.rewriteFrames(data, start, end) !== undefined) this.#illegal = true;
    this.pass(data, start, end);
  }

  readonly #onData = (chunk: Buffer): void => {
    try {
      this.#read(chunk);
    } catch (error) {
      this.#reject(error);
    }
  };

  readonly #onClose = (): void => {
    this.#leave();
    this.#settle.resolve(undefined);
  };

  #read(chunk: Buffer): void {
    const rest = this.#readPreface(chunk);
    if (rest === undefined) return;
    this.#socket.cork();
    try {
      this.#splitter.push(rest, this);
    } finally {
      this.#socket.uncork();
    }
    if (this.#illegal) this.#rewrite();
    else if (this.#asked && this.#acked) this.#handOver();
    else if (this.#kept.length > MAX_KEPT_BYTES) this.#rewrite();
    else if (this.#socket.writableLength > MAX_UNREAD_BYTES) {
      throw new MayflyError('OVER_LIMIT', 'the peer sends PING and does not read the answers');
    }
  }

  /** Returns what follows the preface, `undefined` as long as it is not whole. */
  #readPreface(chunk: Buffer): Buffer | undefined {
    if (this.#prefaceSeen === PREFACE.length) return chunk;
    const length = Math.min(chunk.length, PREFACE.length - this.#prefaceSeen);
    if (chunk.compare(PREFACE, this.#prefaceSeen, this.#prefaceSeen + length, 0, length) !== 0) {
      throw notHttp2(this.#prefaceSeen, chunk);
    }
    this.#prefaceSeen += length;
    if (this.#prefaceSeen < PREFACE.length) return undefined;
    this.#alarm.cancel();
    this.#alarm = this.#clock.after(this.#limits.idleBeforeRewriter, () => this.#rewrite());
    return chunk.subarray(length);
  }

  #handOver(): void {
    this.#leave();
    this.#socket.unshift(Buffer.concat([PREFACE, this.#kept.view(), this.#splitter.held]));
    this.#settle.resolve({ socket: this.#socket, rewritten: false });
  }

  #rewrite(): void {
    this.#leave();
    let ends: [Socket, Socket];
    try {
      ends = this.#pair();
    } catch (error) {
      this.#reject(new MayflyError('OVERLOADED', 'no socket pair for a rewritten connection', { cause: error }));
      return;
    }
    const rewriter = new AuthorityRewriter(this.#limits.maxHeaderBytes, !this.#acked);
    const first = Buffer.concat([this.#kept.view(), this.#splitter.held]);
    joinThroughRewriter(this.#socket, ends, rewriter, first, this.#clock);
    this.#settle.resolve({ socket: ends[1], rewritten: true });
  }

  #reject(error: unknown): void {
    this.#leave();
    this.#settle.reject(isMayflyError(error) ? error : new MayflyError('INTERNAL', 'first request', { cause: error }));
  }

  #leave(): void {
    this.#alarm.cancel();
    this.#socket.pause();
    this.#socket.off('data', this.#onData);
    this.#socket.off('end', this.#onClose);
    this.#socket.off('close', this.#onClose);
  }
}

function prefaceTooLate(timeout: number): MayflyError {
  return new MayflyError('OVER_LIMIT', `the peer did not send the HTTP/2 preface within ${timeout} ms`);
}

/** The peer's own bytes stay out of the message: it goes to a log. */
function notHttp2(seen: number, chunk: Buffer): MayflyError {
  const first = seen === 0 ? (chunk[0] ?? 0) : 0;
  const speaks = 'this socket speaks gRPC, HTTP/2 in plaintext from the first byte on';
  if (first === 0x16) return new MayflyError('INVALID_REQUEST', `the peer began a TLS handshake; ${speaks}`);
  if (first >= 0x41 && first <= 0x5a)
    return new MayflyError('INVALID_REQUEST', `the peer seems to speak HTTP/1; ${speaks}`);
  return new MayflyError('INVALID_REQUEST', `the peer did not send the HTTP/2 preface; ${speaks}`);
}

function ignore(): void {
  // On purpose nothing.
}
