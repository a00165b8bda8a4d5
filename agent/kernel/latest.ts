/**
 * A value that changes, told to any number of followers. A follower that is slow misses what came between and gets the newest: it
 * holds at most one pending value, so that a client which does not read costs nothing.
 */
export class Latest<T> {
  #value: T | undefined;
  #version = 0;
  #ended: { reason: unknown } | undefined;
  readonly #waiting = new Set<() => void>();

  /** The newest value, or `undefined` before the first and never again after it. */
  get value(): T | undefined {
    return this.#value;
  }

  /** How many values there were. */
  get version(): number {
    return this.#version;
  }

  /** How many followers wait for a value right now; at rest, how many there are. */
  get followers(): number {
    return this.#waiting.size;
  }

  /** Makes `value` the newest and wakes all followers. Ignored after {@link end}. */
  set(value: T): void {
    if (this.#ended !== undefined) return;
    this.#value = value;
    this.#version += 1;
    this.#wake();
  }

  /** Ends every follower with `reason` thrown, at once: a value that was not yet taken is not delivered any more. */
  end(reason: unknown): void {
    if (this.#ended !== undefined) return;
    this.#ended = { reason };
    this.#value = undefined;
    this.#wake();
  }

  /**
   * Yields the newest value if there is one, then each newer one. Returns when `signal` aborts; throws what {@link end} was given.
   */
  async *follow(signal: AbortSignal): AsyncGenerator<T, void, undefined> {
    let seen = 0;
    while (!signal.aborted) {
      if (this.#ended !== undefined) throw this.#ended.reason;
      if (this.#version > seen) {
        seen = this.#version;
        yield this.#value as T;
      } else {
        await Latest.#woken(signal, this);
      }
    }
  }

  /**
   * Yields the newest values of two once both have one, then both again at each newer value of either. Returns when `signal` aborts;
   * throws what {@link end} was given of either.
   */
  static async *followBoth<A, B>(
    first: Latest<A>,
    second: Latest<B>,
    signal: AbortSignal,
  ): AsyncGenerator<readonly [A, B], void, undefined> {
    let seen = 0;
    while (!signal.aborted) {
      const ended = first.#ended ?? second.#ended;
      if (ended !== undefined) throw ended.reason;
      // Both only grow: their sum tells whether one of them has.
      const version = first.#version + second.#version;
      if (first.#version > 0 && second.#version > 0 && version > seen) {
        seen = version;
        yield [first.#value as A, second.#value as B];
      } else {
        await Latest.#woken(signal, first, second);
      }
    }
  }

  /** Resolves at the next {@link set} or {@link end} of one of them, or when `signal` aborts. */
  static #woken(signal: AbortSignal, ...sources: readonly Latest<unknown>[]): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => {
      for (const source of sources) source.#waiting.delete(wake);
      signal.removeEventListener('abort', wake);
      resolve();
    };
    for (const source of sources) source.#waiting.add(wake);
    signal.addEventListener('abort', wake);
    return promise;
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }
}
