import { status } from '@grpc/grpc-js';
import type { CallStatus } from './status.ts';

// gRPC over HTTP/2, "Length-Prefixed-Message": whether it is compressed, in one byte, and its length, in four.
const PREFIX_BYTES = 5;

// Three thousand empty messages go into one piece of HTTP/2. Clients send one, or a few answers to what they were told.
const MOST_AT_ONCE = 256;

/**
 * Takes messages out of what a client sends, in place of grpc-js' own decoder. That one keeps a message in the pieces in which it came,
 * an object for each: 64 KiB sent byte by byte took ten megabytes a call, of which a connection may have hundreds. Here a message takes
 * what of it has come, and no more than twice that. And it has each compressed message unpacked as soon as it is there, hundreds of a
 * few bytes at once, each with buffers of tens of kilobytes: here they are refused, which no client of ours sends.
 */
export class RequestDecoder {
  readonly #most: number;
  readonly #refuse: (refused: CallStatus) => void;
  /** The message that is not all there yet, prefix and all, up to `#filled`. */
  #held = Buffer.alloc(0);
  #filled = 0;
  #needed = PREFIX_BYTES;
  #refused = false;

  /**
   * @param most bytes of one message
   * @param refuse ends the call; called at most once, and nothing is taken afterwards
   */
  constructor(most: number, refuse: (refused: CallStatus) => void) {
    this.#most = most;
    this.#refuse = refuse;
  }

  /** The next piece. @returns the messages that are whole with it, each with its prefix */
  write(piece: Buffer): Buffer[] {
    const messages: Buffer[] = [];
    for (let at = 0; at < piece.length && !this.#refused; ) {
      at += this.#hold(piece, at);
      if (this.#filled < this.#needed) break;
      if (this.#needed === PREFIX_BYTES && this.#readPrefix() > 0) continue;
      messages.push(this.#held);
      this.#begin();
      if (messages.length > MOST_AT_ONCE) this.#end(status.RESOURCE_EXHAUSTED, 'too many messages at once');
    }
    return this.#refused ? [] : messages;
  }

  /** Copies what is needed. @returns how much that was */
  #hold(piece: Buffer, at: number): number {
    const count = Math.min(this.#needed - this.#filled, piece.length - at);
    const filled = this.#filled + count;
    if (filled > this.#held.length) {
      const larger = Buffer.allocUnsafe(Math.min(this.#needed, Math.max(filled, 2 * this.#held.length)));
      this.#held.copy(larger, 0, 0, this.#filled);
      this.#held = larger;
    }
    piece.copy(this.#held, this.#filled, at, at + count);
    this.#filled = filled;
    return count;
  }

  /** @returns the length of the message */
  #readPrefix(): number {
    const length = this.#held.readUInt32BE(1);
    if (this.#held[0] !== 0) this.#end(status.UNIMPLEMENTED, 'compressed requests are not taken');
    // In grpc-js' own words.
    else if (length > this.#most) {
      this.#end(status.RESOURCE_EXHAUSTED, `Received message larger than max (${length} vs ${this.#most})`);
    }
    this.#needed = PREFIX_BYTES + length;
    return length;
  }

  #end(code: status, details: string): void {
    this.#refused = true;
    this.#begin();
    this.#refuse({ code, details });
  }

  #begin(): void {
    this.#held = Buffer.alloc(0);
    this.#filled = 0;
    this.#needed = PREFIX_BYTES;
  }
}
