import type { Answer, EnvoyPair } from './envoy-pair.ts';

/** Requests through a pair of Envoys, one after another in each of a few lanes, until it is stopped. */
export class Load {
  /** What went wrong, in words. */
  readonly failures: string[] = [];
  /** The serial numbers of the client certificates that the server saw. */
  readonly serials = new Set<string>();
  readonly #pair: EnvoyPair;
  readonly #lanes: readonly Promise<void>[];
  #answered = 0;
  #stopped = false;

  constructor(pair: EnvoyPair, lanes = 4) {
    this.#pair = pair;
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
        this.#take(await this.#pair.ask());
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
