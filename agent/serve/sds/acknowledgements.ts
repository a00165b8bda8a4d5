import type { Clock } from '../../kernel/clock.ts';
import type { Log } from '../../kernel/log.ts';
import type { ProcessInstance } from '../../peer/instance.ts';

/** A response that a proxy would not take. What it says of itself and of its reasons is its own word. */
export interface Rejection {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly pid: number;
  /** The id of its node; empty where it gave none. */
  readonly node: string;
  readonly names: readonly string[];
  readonly reason: string;
}

// Of texts that come from a proxy.
const MOST_CHARACTERS = 1000;
const MOST_NAMES = 16;

/** What proxies did with what they were sent, over all streams. */
export class Acknowledgements {
  readonly #clock: Clock;
  readonly #log: Log;
  #accepted = 0;
  #rejected = 0;
  #last: Rejection | undefined;

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /** How many responses were taken. */
  get accepted(): number {
    return this.#accepted;
  }

  /** How many were not. */
  get rejected(): number {
    return this.#rejected;
  }

  /** The newest rejection. */
  get last(): Rejection | undefined {
    return this.#last;
  }

  accept(): void {
    this.#accepted += 1;
  }

  /** Counts a rejection and tells of it: the proxy goes on with what it had, and nobody else would say so. */
  reject({ pid }: ProcessInstance, said: Pick<Rejection, 'node' | 'names' | 'reason'>): void {
    this.#rejected += 1;
    const last: Rejection = {
      at: this.#clock.now(),
      pid,
      node: said.node.slice(0, MOST_CHARACTERS),
      names: said.names.slice(0, MOST_NAMES).map((name) => name.slice(0, MOST_CHARACTERS)),
      reason: said.reason.slice(0, MOST_CHARACTERS),
    };
    this.#last = last;
    this.#log.warn(
      'sds.rejected',
      `a proxy goes on with its old secrets, since it refuses the new ones: ${last.reason}`,
      {
        pid,
        node: last.node,
        secrets: last.names,
        reason: 'rejected',
      },
    );
  }
}
