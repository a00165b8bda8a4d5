/** Places that are taken, counted in all and for each who has some. */
export class Places {
  readonly #taken = new Map<string, number>();
  #count = 0;

  /** How many are taken. */
  get count(): number {
    return this.#count;
  }

  /** How many one has. */
  of(whose: string): number {
    return this.#taken.get(whose) ?? 0;
  }

  /** Takes one more; returns how to give it back, which may be called again: twice would admit one too many for ever. */
  take(whose: string): () => void {
    this.#count += 1;
    this.#taken.set(whose, this.of(whose) + 1);
    let taken = true;
    return () => {
      if (!taken) return;
      taken = false;
      this.#count -= 1;
      const left = this.of(whose) - 1;
      if (left === 0) this.#taken.delete(whose);
      else this.#taken.set(whose, left);
    };
  }
}
