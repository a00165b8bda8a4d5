/**
 * An encoded message with a private key in it, to be wiped once it has been sent. grpc-js frames each message in a buffer of its own
 * and nobody is told where; it is learned from the copying.
 */
export class SecretMessage implements Disposable {
  /** What is handed to grpc-js. */
  readonly bytes: Buffer;
  #framed: Buffer | undefined;

  /** Takes the buffer over. */
  constructor(bytes: Buffer) {
    this.bytes = bytes;
    Object.defineProperty(bytes, 'copy', {
      value: (target: Buffer, targetStart?: number, start?: number, end?: number) => {
        this.#framed = target;
        return Buffer.prototype.copy.call(bytes, target, targetStart, start, end);
      },
    });
  }

  /**
   * Overwrites the message where it was encoded and where it was framed. Not before HTTP/2 has written it: a client that reads late, or
   * is told the end of its stream meanwhile, would be sent zeros.
   */
  [Symbol.dispose](): void {
    this.bytes.fill(0);
    this.#framed?.fill(0);
  }
}

/** Messages that are being sent, by connection: each is wiped when it was written, and at the latest when its connection is closed. */
export class UnsentSecrets {
  readonly #byPeer = new Map<string, Set<SecretMessage>>();

  add(peer: string, message: SecretMessage): void {
    const messages = this.#byPeer.get(peer) ?? new Set();
    this.#byPeer.set(peer, messages.add(message));
  }

  sent(peer: string, message: SecretMessage): void {
    message[Symbol.dispose]();
    const messages = this.#byPeer.get(peer);
    if (messages?.delete(message) === true && messages.size === 0) this.#byPeer.delete(peer);
  }

  closed(peer: string): void {
    for (const message of this.#byPeer.get(peer) ?? []) message[Symbol.dispose]();
    this.#byPeer.delete(peer);
  }
}
