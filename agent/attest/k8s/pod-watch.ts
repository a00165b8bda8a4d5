import type { Clock } from '../../kernel/clock.ts';
import { sleep } from '../../kernel/sleep.ts';
import type { Context, ContextKind } from '../context.ts';
import type { Contexts } from '../contexts.ts';
import type { PodList } from './pod-list.ts';
import type { Pods } from './pods.ts';

export interface PodWatchOptions {
  readonly contexts: Contexts;
  readonly clock: Clock;
  /** How often the list is asked for while there are pods in use, in milliseconds. */
  readonly interval: number;
}

// Of the thread's time at most this part goes into lists that are read for the sake of what may have ended.
const MOST_SHARE = 0.04;
const LONGEST_PAUSE_MS = 30_000;

/**
 * Keeps the list of pods new while processes in pods hold an identity, and ends the contexts that are over by it. A kubelet that does
 * not answer ends nothing.
 */
export class PodWatch {
  readonly #list: PodList;
  readonly #options: PodWatchOptions;
  readonly #unfollow: readonly (() => void)[];
  readonly #closing = new AbortController();
  #polling: Promise<void> | undefined;

  constructor(list: PodList, options: PodWatchOptions) {
    this.#list = list;
    this.#options = options;
    this.#unfollow = [
      options.contexts.followUse(() => this.#begin()),
      // A list that came between the attestation and the lease that hangs on it may be the one that says it is over.
      options.contexts.followNew((kind, key, context) => {
        if (list.latest !== undefined) this.#compareOne(list.latest, kind, key, context);
      }),
    ];
    this.#begin();
  }

  /** Ends what is over by a list, in this turn. */
  compare(pods: Pods): void {
    const { contexts } = this.#options;
    for (const kind of ['pod', 'container'] as const) {
      for (const [key, context] of contexts.inUse(kind)) this.#compareOne(pods, kind, key, context);
    }
  }

  async close(): Promise<void> {
    for (const unfollow of this.#unfollow) unfollow();
    this.#closing.abort();
    await this.#polling;
  }

  #compareOne(pods: Pods, kind: ContextKind, key: string, { container, pod }: Context): void {
    // A container that is in no pod is another engine's.
    if (pod === undefined) return;
    const { contexts } = this.#options;
    const end = pods.endOfPod(pod);
    if (kind === 'pod' && end !== undefined) contexts.end(kind, key, end);
    // Where its pod is over that says more, and is told by itself.
    if (kind === 'container' && container !== undefined && end === undefined && pods.isOver(container.id, pod)) {
      contexts.end(kind, key, 'container-ended');
    }
  }

  #begin(): void {
    if (this.#polling !== undefined || !this.#isNeeded()) return;
    this.#polling = this.#poll().finally(() => {
      this.#polling = undefined;
      // Somebody may have come while the last turn was just ending.
      this.#begin();
    });
  }

  #isNeeded(): boolean {
    return this.#options.contexts.count('pod') > 0 && !this.#closing.signal.aborted;
  }

  async #poll(): Promise<void> {
    const { clock, interval } = this.#options;
    let failures = 0;
    while (this.#isNeeded()) {
      const pause = Math.max(interval, this.#list.costMs / MOST_SHARE) * 2 ** Math.min(failures, 10);
      await sleep(Math.min(pause, LONGEST_PAUSE_MS), clock, this.#closing.signal);
      if (!this.#isNeeded()) return;
      // Callers have had it asked for meanwhile.
      if (this.#list.age < interval) continue;
      try {
        await this.#list.next();
        failures = 0;
      } catch {
        // The list has said why.
        failures += 1;
      }
    }
  }
}
