import type { Alarm, Clock } from '../kernel/clock.ts';
import type { Depth } from './continuity.ts';

// All are looked at once in a round, so a change shows within half a second, late timers counted in. What there is to do is spread
// over the ticks of a round: other work waits for one of them at most.
const ROUND_MS = 440;
const TICKS = 8;
// Of one processor, and how many rounds a full look at a process may have to wait for its sake.
const MOST_PERCENT = 4.5;
const SLOWEST = 16;

/** What can be looked at; what a look finds is its own affair. */
export interface Visible {
  look(depth: Depth): void;
}

/** What a round has taken so far; times in milliseconds. */
class Tally {
  readonly began: number;
  ticks = 0;
  looks = 0;
  spent = 0;
  fulls = 0;
  spentOnFulls = 0;

  constructor(began: number) {
    this.began = began;
  }
}

/**
 * Looks at all of the processes again and again, for what nobody tells of. Rests while there are none.
 *
 * Every round looks at each for an `execve`, where nobody tells of it, for ids and for the number of its cgroup. The rest costs many
 * times that for processes that run all the time: when a round with all of it would take more than its share of a processor, each
 * process gets its full look in every second round only, in every third, and so on.
 */
export class Looks {
  readonly #clock: Clock;
  readonly #processes: ReadonlyMap<number, Visible>;
  readonly #told: () => boolean;
  #alarm: Alarm | undefined;
  #turn: Iterator<Visible> | undefined;
  #turns = 0;
  #count = 0;
  #every = 1;
  // How many had to be looked at in each of the last ticks.
  readonly #shares: number[] = [];
  #round: Tally;
  #quickCost = 0;
  #percent = 0;
  #closed = false;

  /** @param told whether the process connector tells of an `execve` now */
  constructor(processes: ReadonlyMap<number, Visible>, clock: Clock, told: () => boolean) {
    this.#processes = processes;
    this.#clock = clock;
    this.#told = told;
    this.#round = new Tally(clock.monotonic());
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
    this.#alarm = this.#clock.after(ROUND_MS / TICKS, () => {
      this.#alarm = undefined;
      if (this.#processes.size === 0) {
        // A turn that is not gone on with would keep its last processes in memory.
        this.#turn = undefined;
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
    this.#turn = undefined;
  }

  #tick(): void {
    const began = this.#clock.monotonic();
    const depth = this.#told() ? 'told' : 'quick';
    for (let left = this.#share(); left > 0; left -= 1) {
      const process = this.#next();
      if (process === undefined) break;
      this.#round.looks += 1;
      this.#count += 1;
      if (this.#count % this.#every === 0) this.#full(process);
      else process.look(depth);
    }
    const ended = this.#clock.monotonic();
    this.#round.spent += ended - began;
    this.#round.ticks += 1;
    if (this.#round.ticks === TICKS) this.#account(ended);
  }

  /** As many as the most of the last round would have needed: those that end meanwhile leave the others no later. */
  #share(): number {
    this.#shares.push(Math.ceil(this.#processes.size / TICKS));
    if (this.#shares.length > TICKS) this.#shares.shift();
    return Math.min(this.#processes.size, Math.max(...this.#shares));
  }

  /** Whose turn it is; `undefined` when there is nobody. */
  #next(): Visible | undefined {
    const next = this.#turn?.next();
    if (next?.done === false) return next.value;
    this.#turns += 1;
    // Another of each process' neighbours every time, so that each has its full look.
    this.#count = this.#turns;
    this.#turn = this.#processes.values();
    const first = this.#turn.next();
    return first.done === true ? undefined : first.value;
  }

  #full(process: Visible): void {
    const began = this.#clock.monotonic();
    process.look('full');
    this.#round.fulls += 1;
    this.#round.spentOnFulls += this.#clock.monotonic() - began;
  }

  /** Sees what the round that is over took, and how many full looks the next one has room for. */
  #account(now: number): void {
    const { began, looks, spent, fulls, spentOnFulls } = this.#round;
    this.#round = new Tally(now);
    this.#percent = now > began ? (100 * spent) / (now - began) : 0;
    if (fulls === 0) return;
    if (looks > fulls) this.#quickCost = (spent - spentOnFulls) / (looks - fulls);
    const more = looks * (spentOnFulls / fulls - this.#quickCost);
    const room = (ROUND_MS * MOST_PERCENT) / 100 - looks * this.#quickCost;
    this.#every = room <= 0 ? SLOWEST : Math.min(SLOWEST, Math.max(1, Math.ceil(more / room)));
  }
}
