import type { Alarm, Clock } from '../../agent/kernel/clock.ts';

interface Waiting {
  readonly on: 'wall' | 'monotonic';
  readonly time: number;
  readonly order: number;
  readonly run: () => void;
}

/**
 * A clock that moves only when a test says so. Wall time starts on 2026-01-01T00:00:00Z, monotonic time at 1000 ms; as on a real
 * machine the two go together in {@link advance} and apart in {@link step}.
 */
export class ManualClock implements Clock {
  #wall: number;
  #monotonic = 1000;
  #order = 0;
  readonly #waiting = new Set<Waiting>();

  constructor(wall: number = Date.UTC(2026, 0, 1)) {
    this.#wall = wall;
  }

  now(): number {
    return this.#wall;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  at(time: number, run: () => void): Alarm {
    return this.#wait('wall', time, run);
  }

  after(ms: number, run: () => void): Alarm {
    return this.#wait('monotonic', this.#monotonic + ms, run);
  }

  /** How many alarms are set: nothing that was closed may leave one behind. */
  get alarms(): number {
    return this.#waiting.size;
  }

  /** Lets `ms` pass. Alarms that become due run in the order of their times, each with the clock at its own time. */
  advance(ms: number): void {
    const until = this.#monotonic + ms;
    for (;;) {
      const next = this.#nextWithin(until - this.#monotonic);
      if (next === undefined) break;
      this.#pass(Math.max(0, this.#left(next)));
      this.#run(next);
    }
    this.#pass(until - this.#monotonic);
  }

  /** {@link advance} that lets promises and I/O go on after each alarm, so that what they set in turn runs in its time too. */
  async elapse(ms: number): Promise<void> {
    const until = this.#monotonic + ms;
    await turn();
    for (;;) {
      const next = this.#nextWithin(until - this.#monotonic);
      if (next === undefined) break;
      this.#pass(Math.max(0, this.#left(next)));
      this.#run(next);
      await turn();
    }
    this.#pass(until - this.#monotonic);
    await turn();
  }

  /** Sets the wall clock forward, or back with a negative `ms`, as `settimeofday` does; monotonic time stands still. */
  step(ms: number): void {
    this.#wall += ms;
    this.#runDue();
  }

  #wait(on: Waiting['on'], time: number, run: () => void): Alarm {
    const waiting = { on, time, order: this.#order++, run };
    this.#waiting.add(waiting);
    // What is due already runs by itself, as with the machine's clock, and never inside the call that sets it.
    if (this.#left(waiting) <= 0) setImmediate(() => this.#run(waiting));
    return { cancel: () => void this.#waiting.delete(waiting) };
  }

  #left(waiting: Waiting): number {
    return waiting.time - (waiting.on === 'wall' ? this.#wall : this.#monotonic);
  }

  #nextWithin(ms: number): Waiting | undefined {
    let next: Waiting | undefined;
    for (const waiting of this.#waiting) {
      const left = Math.max(0, this.#left(waiting));
      if (left > ms) continue;
      const best = next === undefined ? Number.POSITIVE_INFINITY : Math.max(0, this.#left(next));
      if (left < best || (left === best && next !== undefined && waiting.order < next.order)) next = waiting;
    }
    return next;
  }

  #runDue(): void {
    for (let next = this.#nextWithin(0); next !== undefined; next = this.#nextWithin(0)) this.#run(next);
  }

  #run(waiting: Waiting): void {
    // A cancelled alarm does not run, and none runs twice.
    if (this.#waiting.delete(waiting)) waiting.run();
  }

  #pass(ms: number): void {
    this.#wall += ms;
    this.#monotonic += ms;
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
