import type { Latest } from '../../kernel/latest.ts';

/** The newest value of something that is followed while it is wanted. */
export class Feed<T> implements Disposable {
  readonly #follow: (signal: AbortSignal) => AsyncIterable<T>;
  readonly #turn: Latest<undefined>;
  #stop: AbortController | undefined;
  #value: T | undefined;

  /**
   * @param follow begins to follow; to end when the signal aborts
   * @param turn told of each value, and ended with what the followed one throws
   */
  constructor(follow: (signal: AbortSignal) => AsyncIterable<T>, turn: Latest<undefined>) {
    this.#follow = follow;
    this.#turn = turn;
  }

  /** `undefined` while there is none yet, and while it is not wanted. */
  get value(): T | undefined {
    return this.#value;
  }

  want(wanted: boolean): void {
    if (wanted === (this.#stop !== undefined)) return;
    if (wanted) {
      this.#stop = new AbortController();
      void this.#run(this.#stop.signal);
    } else {
      this[Symbol.dispose]();
    }
  }

  [Symbol.dispose](): void {
    this.#stop?.abort();
    this.#stop = undefined;
    this.#value = undefined;
  }

  async #run(signal: AbortSignal): Promise<void> {
    try {
      for await (const value of this.#follow(signal)) {
        if (signal.aborted) return;
        this.#value = value;
        this.#turn.set(undefined);
      }
    } catch (error) {
      if (!signal.aborted) this.#turn.end(error);
    }
  }
}
