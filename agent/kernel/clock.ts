/** Something that will run once, and may be told not to. */
export interface Alarm {
  cancel(): void;
}

/** Time as a parameter. Wall time is in milliseconds since the epoch, monotonic time in milliseconds since some start. */
export interface Clock {
  now(): number;
  monotonic(): number;
  /**
   * Runs `run` once wall time has reached `time`: at the latest a second after a clock step, a resume from suspend or a jump has
   * made it so. Never synchronously. The alarm alone does not keep the process alive.
   */
  at(time: number, run: () => void): Alarm;
  /** Runs `run` once `ms` of monotonic time have passed, whatever the wall clock does. Does not keep the process alive. */
  after(ms: number, run: () => void): Alarm;
}

// Wall-clock alarms are looked at again this often: setTimeout follows the monotonic clock, which stands still in suspend and
// does not see a step; and it fires at once for delays over 2^31 ms.
const LOOK_AGAIN_MS = 1000;

/** The machine's clock. All its wall-clock alarms share one timer. */
export class SystemClock implements Clock {
  readonly #alarms = new Set<{ time: number; run: () => void }>();
  #timer: NodeJS.Timeout | undefined;
  #due = Number.POSITIVE_INFINITY;

  now(): number {
    return Date.now();
  }

  monotonic(): number {
    return performance.now();
  }

  at(time: number, run: () => void): Alarm {
    const alarm = { time, run };
    this.#alarms.add(alarm);
    if (time < this.#due) this.#arm(time);
    return { cancel: () => void this.#alarms.delete(alarm) };
  }

  after(ms: number, run: () => void): Alarm {
    const timer = setTimeout(run, ms).unref();
    return { cancel: () => clearTimeout(timer) };
  }

  #arm(due: number): void {
    clearTimeout(this.#timer);
    this.#due = due;
    const delay = Math.min(Math.max(due - Date.now(), 0), LOOK_AGAIN_MS);
    this.#timer = setTimeout(() => this.#look(), delay).unref();
  }

  #look(): void {
    const now = Date.now();
    let next = Number.POSITIVE_INFINITY;
    const ripe: { time: number; run: () => void }[] = [];
    for (const alarm of this.#alarms) {
      if (alarm.time <= now) ripe.push(alarm);
      else next = Math.min(next, alarm.time);
    }
    this.#due = Number.POSITIVE_INFINITY;
    if (next < Number.POSITIVE_INFINITY) this.#arm(next);
    for (const alarm of ripe.toSorted((a, b) => a.time - b.time)) {
      // An earlier one of this round may have cancelled it.
      if (this.#alarms.delete(alarm)) alarm.run();
    }
  }
}
