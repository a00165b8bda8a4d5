const SMALLEST = 256;

/** Bytes that arrive in pieces, kept in one place. Appending one byte at a time costs as much in all as appending them at once. */
export class GrowingBuffer {
  #bytes: Buffer | undefined;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  append(data: Buffer, start: number, end: number): void {
    const length = this.#length + end - start;
    if (this.#bytes === undefined || length > this.#bytes.length) this.#grow(length);
    if (this.#bytes !== undefined) data.copy(this.#bytes, this.#length, start, end);
    this.#length = length;
  }

  /** What was appended so far. Later appends leave it as it is. */
  view(): Buffer {
    return this.#bytes === undefined ? Buffer.alloc(0) : this.#bytes.subarray(0, this.#length);
  }

  /** Forgets everything and leaves the memory to who took a view of it. */
  clear(): void {
    this.#bytes = undefined;
    this.#length = 0;
  }

  #grow(length: number): void {
    const bytes = Buffer.allocUnsafe(Math.max(SMALLEST, length, (this.#bytes?.length ?? 0) * 2));
    this.#bytes?.copy(bytes, 0, 0, this.#length);
    this.#bytes = bytes;
  }
}
