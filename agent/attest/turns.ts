interface Waiting {
  readonly key: string;
  readonly start: () => void;
}

/**
 * Lets a few in at a time, and of one key only one: a hundred that wait for one key leave the way free for another. First come,
 * first served otherwise.
 */
export class Turns {
  readonly #limit: number;
  readonly #busy = new Set<string>();
  readonly #waiting = new Set<Waiting>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * Waits for a turn and returns how to end it.
   *
   * @throws the reason of `signal`
   */
  take(key: string, signal: AbortSignal): Promise<() => void> {
    const { promise, resolve, reject } = Promise.withResolvers<() => void>();
    const giveUp = (): void => {
      this.#waiting.delete(waiting);
      reject(signal.reason);
    };
    const start = (): void => {
      signal.removeEventListener('abort', giveUp);
      resolve(() => {
        this.#busy.delete(key);
        this.#next();
      });
    };
    const waiting: Waiting = { key, start };
    if (signal.aborted) {
      reject(signal.reason);
    } else {
      signal.addEventListener('abort', giveUp, { once: true });
      this.#waiting.add(waiting);
      this.#next();
    }
    return promise;
  }

  #next(): void {
    for (const waiting of this.#waiting) {
      if (this.#busy.size >= this.#limit) return;
      if (this.#busy.has(waiting.key)) continue;
      this.#waiting.delete(waiting);
      this.#busy.add(waiting.key);
      waiting.start();
    }
  }
}
