import type { Alarm, Clock } from '../kernel/clock.ts';
import type { HeldProcess } from './held-process.ts';

// Each process is looked at once in a round, so a change shows within half a second, late timers counted in. What there is to do is
// spread over the ticks of a round: other work waits for one of them at most.
const ROUND_MS = 440;
const TICKS = 8;
// Of one processor, and how many rounds a full look at a process may have to wait for its sake.
const MOST_PERCENT = 4.5;
const SLOWEST = 16;

/**
 * Looks at all of the processes again and again, for what nobody tells of. Rests while there are none.
 *
 * Every round looks at each for an `execve`, for ids and for the number of its cgroup. The rest costs many times that for processes
 * that run all the time: when rounds take more than their share of a processor, each process gets its full look in every second round
 * only, in every fourth, and so on.
 */
export class Looks {
  readonly #clock: Clock;
  readonly #processes: ReadonlyMap<number, HeldProcess>;
  #alarm: Alarm | undefined;
  #round: Iterator<HeldProcess> | undefined;
  #ticks = 1;
  #share = 0;
  #count = 0;
  #rounds = 0;
  #every = 1;
  #began = 0;
  #spent = 0;
  #percent = 0;
  #closed = false;

  constructor(processes: ReadonlyMap<number, HeldProcess>, clock: Clock) {
    this.#processes = processes;
    this.#clock = clock;
  }

  /** How much of one processor the last whole round took, in percent of the time that it lasted. */
  get percent(): number {
    return this.#processes.size === 0 ? 0 : this.#percent;
  }

  /** Within how many milliseconds a full look at each process has come; a round when there is time enough. */
  get fullWithin(): number {
    return ROUND_MS * this.#every;
  }

  /** Goes on looking, now that there is a process to look at. */
  start(): void {
    if (this.#closed || this.#alarm !== undefined) return;
    this.#alarm = this.#clock.after(ROUND_MS / this.#ticks, () => {
      this.#alarm = undefined;
      if (this.#processes.size === 0) {
        // A round that is not gone on with would keep its last processes in memory.
        this.#round = undefined;
        return;
      }
      this.start();
      this.#tick();
    });
  }

  /** Looks at all of them at once, for what the process connector would have told. */
  all(): void {
    for (const process of this.#processes.values()) process.look('quick');
  }

  close(): void {
    this.#closed = true;
    this.#alarm?.cancel();
    this.#round = undefined;
  }

  #tick(): void {
    const began = this.#clock.monotonic();
    // Those that end during a round leave the others no later.
    this.#share = Math.max(this.#share, Math.ceil(this.#processes.size / this.#ticks));
    for (let left = this.#share; left > 0; left -= 1) {
      const process = this.#next(began);
      if (process === undefined) break;
      this.#count += 1;
      process.look(this.#count % this.#every === 0 ? 'full' : 'quick');
    }
    this.#spent += this.#clock.monotonic() - began;
  }

  /** The next one of this round, or the first of a new one; `undefined` when there is none at all. */
  #next(now: number): HeldProcess | undefined {
    const next = this.#round?.next();
    if (next?.done === false) return next.value;
    if (this.#round !== undefined) this.#account(now);
    this.#began = now;
    this.#spent = 0;
    this.#rounds += 1;
    // Another of each process' neighbours every time, so that each has its turn.
    this.#count = this.#rounds;
    // One process alone needs one tick.
    this.#ticks = Math.max(1, Math.min(TICKS, this.#processes.size));
    this.#share = Math.ceil(this.#processes.size / this.#ticks);
    this.#round = this.#processes.values();
    const first = this.#round.next();
    return first.done === true ? undefined : first.value;
  }

  #account(now: number): void {
    if (now <= this.#began) return;
    this.#percent = (100 * this.#spent) / (now - this.#began);
    if (this.#percent > MOST_PERCENT) this.#every = Math.min(SLOWEST, this.#every * 2);
    else if (this.#percent < MOST_PERCENT / 3) this.#every = Math.max(1, this.#every / 2);
  }
}
