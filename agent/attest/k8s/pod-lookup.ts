import type { Clock } from '../../kernel/clock.ts';
import { sleep } from '../../kernel/sleep.ts';
import type { PodList } from './pod-list.ts';
import type { Pods } from './pods.ts';

export interface PodLookupOptions {
  readonly clock: Clock;
  /** How old a list may be that is believed without asking, in milliseconds. */
  readonly newEnough: number;
  /** How long a caller waits for its container to be listed, in milliseconds. */
  readonly wait: number;
}

/** Finds what is looked for in a list; `undefined` when it is not on it. Throws when it is, and is not to be believed. */
export type Seek<T> = (pods: Pods) => T | undefined;

// Whose pod is known waits so long for a newer list, and not at all for a kubelet that failed a moment ago.
const MOST_FOR_NEWER_MS = 1000;
const FAILED_LATELY_MS = 10_000;

/** Finds containers, and pods, in the list of pods. */
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
   * What is certain to be listed. A container's id is up to a second after its process can call: who comes before that waits, and
   * nobody else does.
   *
   * @param what is sought, for who is told that it is not listed
   * @throws Error when the kubelet cannot be asked or does not list it in time
   */
  async find<T>(seek: Seek<T>, what: string, signal: AbortSignal): Promise<T> {
    const known = await this.#known(seek, signal);
    if (known !== undefined) return known;
    const { wait } = this.#options;
    const until = this.#clock.monotonic() + wait;
    let failure: unknown;
    for (let left = wait; left > 0 && !signal.aborted; left = until - this.#clock.monotonic()) {
      const answer = await this.#within(left, signal);
      failure = answer instanceof Error ? answer : undefined;
      const found = answer instanceof Error || answer === undefined ? undefined : seek(answer);
      if (found !== undefined) return found;
    }
    throw failure ?? new Error(`the kubelet has not listed ${what} for ${wait} ms`);
  }

  /**
   * What may not be there at all: `undefined` when a list that is newer than the question has not got it.
   *
   * @throws Error when the kubelet cannot be asked
   */
  async findIfAny<T>(seek: Seek<T>, signal: AbortSignal): Promise<T | undefined> {
    return (await this.#known(seek, signal)) ?? seek(await this.#list.next());
  }

  /** By what is known already; where that is old, a newer list is waited for, if the kubelet gives one. */
  async #known<T>(seek: Seek<T>, signal: AbortSignal): Promise<T | undefined> {
    const { latest } = this.#list;
    const known = latest && seek(latest);
    if (known === undefined) return undefined;
    const { age, failedFor } = this.#list;
    if (age < this.#options.newEnough || (failedFor ?? Number.POSITIVE_INFINITY) < FAILED_LATELY_MS) return known;
    const answer = await this.#within(MOST_FOR_NEWER_MS, signal);
    return answer instanceof Error || this.#list.latest === undefined ? known : seek(this.#list.latest);
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
