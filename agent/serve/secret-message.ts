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

  /** Overwrites the message where it was encoded and where it was framed: when HTTP/2 has written it, or never will. */
  [Symbol.dispose](): void {
    this.bytes.fill(0);
    this.#framed?.fill(0);
  }
}
