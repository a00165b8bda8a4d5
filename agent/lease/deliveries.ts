import type { ProcessInstance } from '../peer/instance.ts';

/** What the client of a stream has by now. */
export interface Told {
  /** The serials of its certificates, or the ids of its WIT-SVIDs; none of a stream that carries none. */
  readonly svids: readonly string[];
  /** The number of its newest revocation list; 0 of a stream that carries none. */
  readonly lists: number;
}

/** One open stream: which call it came from, whose it is, and what its connection has taken last. */
export class Subscriber implements Disposable {
  readonly instance: ProcessInstance;
  readonly method: string;
  readonly #closed: (subscriber: Subscriber) => void;
  readonly #waiting = new Set<() => void>();
  #told: Told | undefined;
  #ended = false;

  constructor(instance: ProcessInstance, method: string, closed: (subscriber: Subscriber) => void) {
    this.instance = instance;
    this.method = method;
    this.#closed = closed;
  }

  /** What it has; `undefined` before the first. */
  get told(): Told | undefined {
    return this.#told;
  }

  /** Notes what HTTP/2 has taken off for the client. */
  tell(told: Told): void {
    this.#told = told;
    this.#wake();
  }

  /** Resolves once the stream was told what `enough` accepts, or has ended, or `signal` aborts; says which. */
  async until(enough: (told: Told) => boolean, signal: AbortSignal): Promise<'told' | 'ended' | 'late'> {
    for (;;) {
      if (this.#told !== undefined && enough(this.#told)) return 'told';
      if (this.#ended) return 'ended';
      if (signal.aborted) return 'late';
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.add(resolve);
      const late = () => resolve();
      signal.addEventListener('abort', late);
      await promise;
      signal.removeEventListener('abort', late);
      this.#waiting.delete(resolve);
    }
  }

  [Symbol.dispose](): void {
    this.#ended = true;
    this.#closed(this);
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }
}

/** The streams that are open. */
export class Deliveries {
  readonly #open = new Set<Subscriber>();

  /** Notes a stream; it is to be disposed of at its end. */
  open(instance: ProcessInstance, method: string): Subscriber {
    const subscriber = new Subscriber(instance, method, (closed) => void this.#open.delete(closed));
    this.#open.add(subscriber);
    return subscriber;
  }

  [Symbol.iterator](): Iterator<Subscriber> {
    return this.#open.values();
  }
}
