import type { Clock } from '../../kernel/clock.ts';
import { sleep } from '../../kernel/sleep.ts';
import type { PodList } from './pod-list.ts';
import type { Place, Pods } from './pods.ts';

export interface PodLookupOptions {
  readonly clock: Clock;
  /** How old a list may be that is believed without asking, in milliseconds. */
  readonly newEnough: number;
  /** How long a caller waits for its container to be listed, in milliseconds. */
  readonly wait: number;
}

// Whose pod is known waits so long for a newer list, and not at all for a kubelet that failed a moment ago.
const MOST_FOR_NEWER_MS = 1000;
const FAILED_LATELY_MS = 10_000;

/** Finds containers in the list of pods. */
export class PodLookup {
  readonly #list: PodList;
  readonly #options: PodLookupOptions;
  readonly #clock: Clock;

  constructor(list: PodList, options: PodLookupOptions) {
    this.#list = list;
    this.#options = options;
    this.#clock = options.clock;
  }

  /**
   * Where a container of a pod is. Its id is listed up to a second after its process can call: who comes before that waits, and nobody
   * else does.
   *
   * @throws Error when the kubelet cannot be asked or does not list it in time
   */
  async find(id: string, signal: AbortSignal): Promise<Place> {
    const known = await this.#known(id, signal);
    if (known !== undefined) return known;
    const { wait } = this.#options;
    const until = this.#clock.monotonic() + wait;
    let failure: unknown;
    for (let left = wait; left > 0 && !signal.aborted; left = until - this.#clock.monotonic()) {
      const answer = await this.#within(left, signal);
      failure = answer instanceof Error ? answer : undefined;
      const place = answer instanceof Error ? undefined : answer?.place(id);
      if (place !== undefined) return place;
    }
    throw failure ?? new Error(`the kubelet has not listed container ${id} in a pod for ${wait} ms`);
  }

  /**
   * Where a container is of which nobody says that it is a pod's; `undefined` when a list that is newer than the question has not got it.
   *
   * @throws Error when the kubelet cannot be asked
   */
  async findIfAny(id: string, signal: AbortSignal): Promise<Place | undefined> {
    return (await this.#known(id, signal)) ?? (await this.#list.next()).place(id);
  }

  /** Where it is by what is known already; where that is old, a newer list is waited for, if the kubelet gives one. */
  async #known(id: string, signal: AbortSignal): Promise<Place | undefined> {
    const place = this.#list.latest?.place(id);
    if (place === undefined) return undefined;
    const { age, failedFor } = this.#list;
    if (age < this.#options.newEnough || (failedFor ?? Number.POSITIVE_INFINITY) < FAILED_LATELY_MS) return place;
    const answer = await this.#within(MOST_FOR_NEWER_MS, signal);
    return answer instanceof Error ? place : this.#list.latest?.place(id);
  }

  /** The next list, or why there is none, if either comes within `ms`. */
  async #within(ms: number, signal: AbortSignal): Promise<Pods | Error | undefined> {
    const enough = new AbortController();
    const answer = this.#list
      .next()
      .catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))));
    const late = sleep(ms, this.#clock, AbortSignal.any([signal, enough.signal])).then(() => undefined);
    try {
      return await Promise.race([answer, late]);
    } finally {
      enough.abort();
    }
  }
}
