import type { Clock } from '../kernel/clock.ts';

interface Noted {
  count: number;
  last: string;
  at: number;
}

const REMEMBERED_MS = 3_600_000;

/**
 * What could not be found out, by kind: how often, and the last case. A kind that did not come up for an hour is forgotten, so that
 * what was repaired does not stay in `status` for ever.
 */
export class Shortcomings<Kind extends string> {
  readonly #sentences: Readonly<Record<Kind, string>>;
  readonly #clock: Clock;
  readonly #noted = new Map<Kind, Noted>();

  /** @param sentences what each kind means for the operator and what to do, without a full stop */
  constructor(sentences: Readonly<Record<Kind, string>>, clock: Clock) {
    this.#sentences = sentences;
    this.#clock = clock;
  }

  /** @param example the case at hand, short; it may hold what a stranger chose, such as a path */
  note(kind: Kind, example: string): void {
    const noted = this.#noted.get(kind) ?? { count: 0, last: '', at: 0 };
    noted.count += 1;
    noted.last = example.length > 200 ? `${example.slice(0, 200)}…` : example;
    noted.at = this.#clock.monotonic();
    this.#noted.set(kind, noted);
  }

  /** One sentence a kind, in the order in which they first came up. */
  list(): readonly string[] {
    const now = this.#clock.monotonic();
    for (const [kind, noted] of this.#noted) {
      if (now - noted.at > REMEMBERED_MS) this.#noted.delete(kind);
    }
    return [...this.#noted].map(
      ([kind, { count, last }]) =>
        `${this.#sentences[kind]} (${count === 1 ? 'once' : `${count} times`}, last: ${JSON.stringify(last)})`,
    );
  }
}
