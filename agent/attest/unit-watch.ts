import type { Clock } from '../kernel/clock.ts';
import { messageOf } from '../kernel/errors.ts';
import { sleep } from '../kernel/sleep.ts';
import type { Contexts } from './contexts.ts';
import { within } from './deadline.ts';
import type { SystemdManager } from './systemd-manager.ts';

// All units in use are compared with what systemd says this often, whatever it has told.
const LOOK_MS = 10_000;
// After a failure; a bus that is started again is back within a second.
const RETRY_MS = 1000;
const ANSWER_WITHIN_MS = 5000;

/**
 * Says when the runs of units are over in which there are workloads. systemd tells at once; what it could not tell while there was no
 * connection is found out by a look. A systemd that does not answer ends nothing.
 */
export class UnitWatch {
  readonly #manager: SystemdManager;
  readonly #contexts: Contexts;
  readonly #clock: Clock;
  readonly #unfollow: readonly (() => void)[];
  readonly #closing = new AbortController();
  // Units that are being looked at; `again` when one has changed meanwhile.
  readonly #looking = new Map<string, 'once' | 'again'>();
  #running: Promise<void> | undefined;
  /** Whether systemd tells of changes; all units in use are looked at once it does. */
  #follows = false;
  #failure: string | undefined;
  #idle = new AbortController();

  /** @param manager stays its maker's to close, after this */
  constructor(manager: SystemdManager, contexts: Contexts, clock: Clock) {
    this.#manager = manager;
    this.#contexts = contexts;
    this.#clock = clock;
    this.#unfollow = [
      contexts.followUse((kind) => {
        if (kind === 'unit') this.#useChanged();
      }),
      // It may have ended between the attestation and the lease that hangs on it, and that was told while nobody cared.
      contexts.followNew((kind, _key, { unit }) => {
        if (kind === 'unit' && unit !== undefined && this.#follows) this.#changed(unit.id);
      }),
    ];
  }

  /** Why an end would go unnoticed now; `undefined` when it would not. */
  get failure(): string | undefined {
    return this.#failure;
  }

  async close(): Promise<void> {
    for (const unfollow of this.#unfollow) unfollow();
    this.#closing.abort(new Error('the agent shuts down'));
    await this.#running;
  }

  #useChanged(): void {
    if (this.#contexts.count('unit') === 0) {
      this.#idle.abort();
      this.#idle = new AbortController();
      return;
    }
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      // Somebody may have come while the last run was just ending.
      if (this.#contexts.count('unit') > 0 && !this.#closing.signal.aborted) this.#useChanged();
    });
  }

  async #run(): Promise<void> {
    while (this.#contexts.count('unit') > 0 && !this.#closing.signal.aborted) {
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

  /** Watches until nobody is in a unit any more. @throws Error when the connection is lost, or none is to be had */
  async #watch(until: AbortSignal): Promise<void> {
    const following = await this.#within(until, (signal) =>
      this.#manager.follow((unit) => this.#changed(unit), signal),
    );
    const lost = new AbortController();
    void following.over.then(() =>
      lost.abort(new Error('the connection to the message bus was lost, or systemd came to it anew')),
    );
    const signal = AbortSignal.any([until, lost.signal]);
    this.#follows = true;
    try {
      while (!signal.aborted) {
        for (const unit of new Set(this.#unitsInUse())) await this.#look(unit, signal);
        this.#failure = undefined;
        await sleep(LOOK_MS, this.#clock, signal);
      }
      if (!until.aborted) lost.signal.throwIfAborted();
    } finally {
      this.#follows = false;
      following.stop();
    }
  }

  /** Looks at once. Many signals of one unit are one look, and one more when they came during it. */
  #changed(unit: string): void {
    if (this.#looking.has(unit)) {
      this.#looking.set(unit, 'again');
      return;
    }
    if (!this.#unitsInUse().some((each) => each === unit)) return;
    void this.#lookUntilDone(unit);
  }

  async #lookUntilDone(unit: string): Promise<void> {
    try {
      do {
        this.#looking.set(unit, 'once');
        await this.#look(unit, this.#closing.signal);
      } while (this.#looking.get(unit) === 'again');
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#failure = messageOf(error);
    } finally {
      this.#looking.delete(unit);
    }
  }

  /** Ends the runs of a unit that are over. */
  async #look(unit: string, until: AbortSignal): Promise<void> {
    // Taken before the question: a run that came into use while the answer was on its way is none that it can speak of.
    const runs = Array.from(this.#contexts.inUse('unit')).flatMap(([key, { unit: run }]) =>
      run?.id === unit ? [{ key, invocation: run.invocation }] : [],
    );
    const now = await this.#within(until, (signal) => this.#manager.unit(unit, signal));
    for (const { key, invocation } of runs) {
      if (!now.runs || now.invocation !== invocation) this.#contexts.end('unit', key, 'unit-ended');
    }
  }

  #unitsInUse(): string[] {
    return Array.from(this.#contexts.inUse('unit')).flatMap(([, { unit }]) => unit?.id ?? []);
  }

  #within<T>(until: AbortSignal, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return within(ANSWER_WITHIN_MS, this.#clock, until, run);
  }
}
