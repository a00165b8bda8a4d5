import type { Clock } from '../kernel/clock.ts';
import { messageOf } from '../kernel/errors.ts';
import { sleep } from '../kernel/sleep.ts';
import type { Context, ContextEnd, ContextKind } from './context.ts';
import type { Contexts } from './contexts.ts';
import { within } from './deadline.ts';

/** A subscription to changes. */
export interface Following {
  /** Resolves when nothing is told any more, whoever ended it. */
  readonly over: Promise<void>;
  stop(): void;
}

/** Whoever knows which contexts of a kind are over: an engine of its containers, systemd of its units. */
export interface ContextSource {
  readonly kind: ContextKind;
  /** What has happened when nothing is told any more, in a sentence. */
  readonly lossText: string;
  /** By what name it is asked about a context; `undefined` when that is another's. */
  nameOf(context: Context): string | undefined;
  /**
   * Has `changed` called with the name of each that may have ended, and with none when it may be any of them. That is a reason to look
   * and nothing more.
   *
   * @throws Error when nobody can be asked; the reason of `signal`
   */
  follow(changed: (name: string | undefined) => void, signal: AbortSignal): Promise<Following>;
  /**
   * What is so now of all contexts with a name: how one of them has ended, `undefined` when it has not.
   *
   * @throws Error when nobody answers; the reason of `signal`
   */
  look(name: string, signal: AbortSignal): Promise<(context: Context) => ContextEnd | undefined>;
}

// All in use are looked at this often, whatever was told.
const LOOK_MS = 10_000;
// After a failure; what is started again is back within a second.
const RETRY_MS = 1000;
const ANSWER_WITHIN_MS = 5000;

/**
 * Ends the contexts that are over in which there are workloads. Most is told at once; what could not be told while there was no
 * connection is found out by a look. A source that does not answer ends nothing.
 */
export class ContextWatch {
  readonly #source: ContextSource;
  readonly #contexts: Contexts;
  readonly #clock: Clock;
  readonly #unfollow: readonly (() => void)[];
  readonly #closing = new AbortController();
  // Names that are being looked at; `again` when one has changed meanwhile.
  readonly #looking = new Map<string, 'once' | 'again'>();
  #running: Promise<void> | undefined;
  /** Whether changes are told; all in use are looked at once they are. */
  #follows = false;
  #failure: string | undefined;
  #idle = new AbortController();

  constructor(source: ContextSource, contexts: Contexts, clock: Clock) {
    this.#source = source;
    this.#contexts = contexts;
    this.#clock = clock;
    this.#unfollow = [
      contexts.followUse((kind) => {
        if (kind === source.kind) this.#useChanged();
      }),
      // It may have ended between the attestation and the lease that hangs on it, and that was told while nobody cared.
      contexts.followNew((kind, _key, context) => {
        const name = kind === source.kind && this.#follows ? source.nameOf(context) : undefined;
        if (name !== undefined) this.#changed(name);
      }),
    ];
    if (this.#isNeeded()) this.#useChanged();
  }

  /** Why an end would go unnoticed now; `undefined` when it would not. */
  get failure(): string | undefined {
    return this.#names().size === 0 ? undefined : this.#failure;
  }

  async close(): Promise<void> {
    for (const unfollow of this.#unfollow) unfollow();
    this.#closing.abort(new Error('the agent shuts down'));
    await this.#running;
  }

  #useChanged(): void {
    if (!this.#isNeeded()) {
      this.#idle.abort();
      this.#idle = new AbortController();
      return;
    }
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      // Somebody may have come while the last run was just ending.
      if (this.#isNeeded()) this.#useChanged();
    });
  }

  #isNeeded(): boolean {
    return this.#contexts.count(this.#source.kind) > 0 && !this.#closing.signal.aborted;
  }

  async #run(): Promise<void> {
    while (this.#isNeeded()) {
      const until = AbortSignal.any([this.#closing.signal, this.#idle.signal]);
      try {
        await this.#watch(until);
      } catch (error) {
        if (until.aborted) continue;
        this.#failure = messageOf(error);
        await sleep(RETRY_MS, this.#clock, until);
      }
    }
    this.#failure = undefined;
  }

  /** Watches until none is in use any more. @throws Error when the connection is lost, or none is to be had */
  async #watch(until: AbortSignal): Promise<void> {
    const following = await this.#within(until, (signal) => this.#source.follow((name) => this.#changed(name), signal));
    const lost = new AbortController();
    void following.over.then(() => lost.abort(new Error(this.#source.lossText)));
    const signal = AbortSignal.any([until, lost.signal]);
    this.#follows = true;
    try {
      while (!signal.aborted) {
        this.#failure = await this.#lookAtAll(signal);
        await sleep(this.#failure === undefined ? LOOK_MS : RETRY_MS, this.#clock, signal);
      }
      if (!until.aborted) lost.signal.throwIfAborted();
    } finally {
      this.#follows = false;
      following.stop();
    }
  }

  /** One of which nothing can be found out keeps none of the others. Returns why the last one was, of those. */
  async #lookAtAll(until: AbortSignal): Promise<string | undefined> {
    let failure: string | undefined;
    for (const name of this.#names()) {
      if (until.aborted) return failure;
      try {
        await this.#look(name, until);
      } catch (error) {
        failure = messageOf(error);
      }
    }
    return failure;
  }

  /** Looks at once. Many changes of one are one look, and one more when they came during it. */
  #changed(name: string | undefined): void {
    const names = this.#names();
    for (const each of name === undefined ? names : [name]) {
      if (this.#looking.has(each)) this.#looking.set(each, 'again');
      else if (names.has(each)) void this.#lookUntilDone(each);
    }
  }

  async #lookUntilDone(name: string): Promise<void> {
    try {
      do {
        this.#looking.set(name, 'once');
        await this.#look(name, this.#closing.signal);
      } while (this.#looking.get(name) === 'again');
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#failure = messageOf(error);
    } finally {
      this.#looking.delete(name);
    }
  }

  async #look(name: string, until: AbortSignal): Promise<void> {
    // Taken before the question: what came into use while the answer was on its way is none that it can speak of.
    const asked = this.#inUse().filter(({ context }) => this.#source.nameOf(context) === name);
    const endOf = await this.#within(until, (signal) => this.#source.look(name, signal));
    for (const { key, context } of asked) {
      const end = endOf(context);
      if (end !== undefined) this.#contexts.end(this.#source.kind, key, end);
    }
  }

  #names(): ReadonlySet<string> {
    return new Set(this.#inUse().flatMap(({ context }) => this.#source.nameOf(context) ?? []));
  }

  #inUse(): readonly { readonly key: string; readonly context: Context }[] {
    return Array.from(this.#contexts.inUse(this.#source.kind), ([key, context]) => ({ key, context }));
  }

  #within<T>(until: AbortSignal, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return within(ANSWER_WITHIN_MS, this.#clock, until, run);
  }
}
