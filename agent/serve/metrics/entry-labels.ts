/** The label of all entries beyond the most. No entry can be called so. */
const OTHER = '(other)';

/** The label of what is about no entry. */
const NONE = '(none)';

// A few series each: what Prometheus bears without being asked.
const MOST = 1000;

/**
 * Entries as labels. Ids come from the configuration alone, and not from callers; but they come and go with it, and each that ever was
 * stays a series for as long as the agent runs.
 */
export class EntryLabels {
  readonly #known = new Set<string>();
  readonly #most: number;

  constructor(most: number = MOST) {
    this.#most = most;
  }

  /** The label for an entry's id: the id itself for the first thousand that there are, the same one for all others. */
  of(id: string | undefined): string {
    if (id === undefined) return NONE;
    if (this.#known.has(id)) return id;
    if (this.#known.size >= this.#most) return OTHER;
    this.#known.add(id);
    return id;
  }
}
