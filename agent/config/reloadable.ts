import type { Clock } from '../kernel/clock.ts';
import { messageOf } from '../kernel/errors.ts';
import { Latest } from '../kernel/latest.ts';
import type { Log } from '../kernel/log.ts';
import { OneAtATime } from '../kernel/one-at-a-time.ts';

/** How a reloadable thing stands, for `status` and health. Times in milliseconds since the epoch. */
export interface ReloadState {
  /** How many different values there were; 0 before the first. */
  readonly generation: number;
  /** When the value in use was swapped in. */
  readonly loadedAt: number;
  /** Why the newest attempt failed: the value in use is then the last good one. `undefined` when all is well. */
  readonly lastError: { readonly at: number; readonly message: string } | undefined;
  /** How many attempts have failed. */
  readonly failures: number;
}

export interface ReloadableOptions<T> {
  /** What is loaded, for log lines and their event: `entries` logs `entries.reloaded`, `entries.reload_failed`. */
  readonly name: string;
  /**
   * Builds and checks a whole new value, or throws and has changed nothing. `current` is the value in use, `undefined` the first
   * time; a change that is not allowed while running is refused by throwing.
   */
  readonly load: (current: T | undefined) => Promise<T>;
  /** Equal for equal values: a file that was only touched swaps nothing and wakes nobody. */
  readonly digest: (value: T) => string;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * A value that is built, checked and then swapped in; when that fails the last good one stays and the failure is told. Loads run
 * one at a time: what is asked for while one runs is served by one more that starts after it, so that it sees the newest files.
 */
export class Reloadable<T> {
  /** The value in use. Ended by nobody: its followers stop by their own signal. */
  readonly latest = new Latest<T>();
  readonly #options: ReloadableOptions<T>;
  readonly #loading = new OneAtATime(() => this.#attempt());
  #closed = false;
  #digest: string | undefined;
  #loadedAt = 0;
  #lastError: ReloadState['lastError'];
  #failures = 0;

  constructor(options: ReloadableOptions<T>) {
    this.#options = options;
  }

  /**
   * Loads for the first time. There is no last good value yet, so this one throws.
   *
   * @throws whatever `load` throws, as it is
   */
  async start(): Promise<T> {
    const value = await this.#options.load(undefined);
    this.#swap(value);
    return value;
  }

  /**
   * Loads again and swaps when the value is another one. Never throws: a failure is logged and stands in {@link state}.
   *
   * @returns false when the load failed, or after {@link close}
   */
  reload(): Promise<boolean> {
    return this.#closed ? Promise.resolve(false) : this.#loading.ask();
  }

  state(): ReloadState {
    const { version: generation } = this.latest;
    return { generation, loadedAt: this.#loadedAt, lastError: this.#lastError, failures: this.#failures };
  }

  /** Resolves when no load is under way and none will start. A load that is caught by it swaps nothing. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#loading.idle();
  }

  async #attempt(): Promise<boolean> {
    if (this.#closed) return false;
    const { name, load, clock, log } = this.#options;
    try {
      const value = await load(this.latest.value);
      if (this.#closed) return false;
      this.#lastError = undefined;
      if (this.#swap(value)) log.info(`${name}.reloaded`, `new ${name} in use`, { generation: this.latest.version });
      return true;
    } catch (error) {
      this.#failures += 1;
      this.#lastError = { at: clock.now(), message: messageOf(error) };
      log.error(`${name}.reload_failed`, `${name} not reloaded, the last good state stays: ${messageOf(error)}`);
      return false;
    }
  }

  #swap(value: T): boolean {
    const digest = this.#options.digest(value);
    if (digest === this.#digest) return false;
    this.#digest = digest;
    this.#loadedAt = this.#options.clock.now();
    this.latest.set(value);
    return true;
  }
}
