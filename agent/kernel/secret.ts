import { inspect } from 'node:util';

const PRINTED = '[private key]';

/**
 * Bytes that must not be printed: a private key, in PKCS#8 DER or as a JWK. Logging, JSON and inspection show a placeholder; `reveal` is the
 * one way to the bytes, so that a search for it finds every place that handles them.
 */
export class Secret {
  #bytes: Buffer | undefined;

  /** Takes the buffer over: nobody else may keep it, because {@link destroy} overwrites it. */
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /**
   * The bytes themselves, not a copy: each copy is one more that nobody can zero.
   *
   * @throws Error after {@link destroy}: using an ended key is a defect of the program
   */
  reveal(): Buffer {
    if (this.#bytes === undefined) throw new Error('the private key was destroyed');
    return this.#bytes;
  }

  get destroyed(): boolean {
    return this.#bytes === undefined;
  }

  /** Overwrites the bytes with zeros. May be called again. */
  destroy(): void {
    this.#bytes?.fill(0);
    this.#bytes = undefined;
  }

  toJSON(): string {
    return PRINTED;
  }

  toString(): string {
    return PRINTED;
  }

  [inspect.custom](): string {
    return PRINTED;
  }
}
