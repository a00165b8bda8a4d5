/**
 * Work that runs one at a time. Who asks while it runs shares one more run with all who do: it starts afterwards, and so sees what
 * is newest for each of them.
 */
export class OneAtATime<T> {
  readonly #work: () => Promise<T>;
  #running: Promise<T> | undefined;
  #next: Promise<T> | undefined;

  constructor(work: () => Promise<T>) {
    this.#work = work;
  }

  /** A run that starts now or later, never one that has begun. Rejects as the work does. */
  ask(): Promise<T> {
    // Looked at first: between two runs none is running, and whoever started one then would have the next run beside it.
    if (this.#next !== undefined) return this.#next;
    if (this.#running === undefined) return this.#run();
    const again = () => {
      this.#next = undefined;
      return this.#run();
    };
    this.#next = this.#running.then(again, again);
    return this.#next;
  }

  /** The run that is asked for and has not begun, if there is one. */
  get next(): Promise<T> | undefined {
    return this.#next;
  }

  /** Resolves when no run is under way and none is waited for. */
  async idle(): Promise<void> {
    while (this.#running !== undefined || this.#next !== undefined) {
      await Promise.allSettled([this.#next ?? this.#running]);
    }
  }

  #run(): Promise<T> {
    const run = this.#work().finally(() => {
      if (this.#running === run) this.#running = undefined;
    });
    this.#running = run;
    return run;
  }
}
