import { asError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';

const MAX_LINES = 256;
const MAX_LENGTH = 512 * 1024;

/** Those who are told of records as they become durable, and the newest records for those who come late: never more than half a megabyte. */
export class Followers {
  readonly #log: Log;
  readonly #listeners = new Set<(record: string) => void>();
  readonly #recent: string[] = [];
  #length = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  get recent(): readonly string[] {
    return [...this.#recent];
  }

  /** @returns how to take it back */
  add(listener: (record: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  tell(line: string): void {
    this.#recent.push(line);
    this.#length += line.length;
    while (this.#recent.length > MAX_LINES || this.#length > MAX_LENGTH) {
      this.#length -= this.#recent.shift()?.length ?? 0;
    }
    for (const listener of this.#listeners) {
      try {
        listener(line);
      } catch (error) {
        // What listens has no say in whether a record is written.
        this.#log.error('ledger.listener_failed', 'a follower of the ledger failed', { error: asError(error) });
      }
    }
  }

  close(): void {
    this.#listeners.clear();
  }
}
