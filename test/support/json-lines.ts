import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

/** How long a test waits for something unless it says so: far above what is needed, since nobody waits for longer than he must. */
export const PATIENCE_MS = 10_000;

/** What a process writes, a JSON object a line; each line can be waited for. */
export class JsonLines<Line extends object> {
  readonly all: Line[] = [];
  /** Lines that are no JSON. */
  readonly plain: string[] = [];
  readonly #waiting = new Set<() => void>();
  #ended = false;

  constructor(stream: Readable) {
    const reader = createInterface({ input: stream });
    reader.on('line', (line) => {
      this.#take(line);
      this.#wake();
    });
    reader.on('close', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** How many there are: what comes later is after this mark. */
  get mark(): number {
    return this.all.length;
  }

  /**
   * The first line that `matches`, once it is there.
   *
   * @param what it is that is waited for, for the message when it does not come
   * @param after a {@link mark}; lines before it do not count
   */
  async first<Found extends Line>(
    matches: (line: Line) => line is Found,
    what: string,
    after?: number,
    ms?: number,
  ): Promise<Found>;
  async first(matches: (line: Line) => boolean, what: string, after?: number, ms?: number): Promise<Line>;
  async first(matches: (line: Line) => boolean, what: string, after = 0, ms: number = PATIENCE_MS): Promise<Line> {
    const deadline = performance.now() + ms;
    let seen = after;
    for (;;) {
      for (; seen < this.all.length; seen += 1) {
        const line = this.all[seen];
        if (line !== undefined && matches(line)) return line;
      }
      const left = deadline - performance.now();
      if (this.#ended || left <= 0) throw new Error(this.#missing(what, ms));
      await this.#news(left);
    }
  }

  #take(line: string): void {
    try {
      const value: unknown = JSON.parse(line);
      if (typeof value === 'object' && value !== null) this.all.push(value as Line);
      else this.plain.push(line);
    } catch {
      this.plain.push(line);
    }
  }

  #news(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    this.#waiting.add(resolve);
    return promise.finally(() => {
      clearTimeout(timer);
      this.#waiting.delete(resolve);
    });
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }

  #missing(what: string, ms: number): string {
    const last = [...this.plain, ...this.all.slice(-15).map((line) => JSON.stringify(line))].join('\n  ');
    return `${this.#ended ? 'the process ended without' : `not within ${ms} ms:`} ${what}; it wrote last:\n  ${last}`;
  }
}

/**
 * Asks again until there is an answer.
 *
 * @param ask returns `undefined` as long as it is not so yet
 */
export async function eventually<T>(
  what: string,
  ask: () => T | undefined | Promise<T | undefined>,
  ms: number = PATIENCE_MS,
): Promise<T> {
  const deadline = performance.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 10);
    });
  }
}
