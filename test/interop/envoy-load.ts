import type { Answer } from './envoy-pair.ts';

/** Requests, one after another in each of a few lanes, until it is stopped. */
export class Load {
  /** What went wrong, in words. */
  readonly failures: string[] = [];
  /** The serial numbers of the client certificates that the server saw. */
  readonly serials = new Set<string>();
  readonly #ask: () => Promise<Answer>;
  readonly #lanes: readonly Promise<void>[];
  #answered = 0;
  #stopped = false;

  constructor(ask: () => Promise<Answer>, lanes = 4) {
    this.#ask = ask;
    this.#lanes = Array.from({ length: lanes }, () => this.#run());
  }

  get answered(): number {
    return this.#answered;
  }

  /** Stops, and waits for what is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#lanes);
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      try {
        this.#take(await this.#ask());
      } catch (error) {
        this.failures.push(String(error));
      }
      await new Promise((resolve) => {
        setTimeout(resolve, 10);
      });
    }
  }

  #take({ status, body, serial }: Answer): void {
    this.#answered += 1;
    if (serial !== undefined) this.serials.add(serial);
    if (status !== 200) this.failures.push(`${status} ${body}`);
  }
}
