import type { Alarm, Clock } from '../kernel/clock.ts';
import type { Log, LogFields } from '../kernel/log.ts';
import type { Unidentified } from './credentials.ts';

/** Why something was refused before any work was done for it: a closed set, to count and to alert by. */
export type RefusalReason =
  | Unidentified['reason']
  | 'too-many-connections'
  | 'too-many-connections-of-user'
  | 'too-many-calls'
  | 'too-many-attestations'
  | 'not-accepted'
  | 'first-request';

// Whoever is refused may come back ten thousand times a second; the log takes one line of it in this time.
const QUIET_MS = 10_000;

interface Quiet {
  readonly alarm: Alarm;
  suppressed: number;
}

/** Counts what was refused, and logs it: the first of each reason at once, then what came since, as one line every ten seconds. */
export class Refusals {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #counts = new Map<RefusalReason, number>();
  readonly #quiet = new Map<RefusalReason, Quiet>();

  constructor(log: Log, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** How often each reason was given, for `status`; what never happened is not in it. */
  get counts(): ReadonlyMap<RefusalReason, number> {
    return this.#counts;
  }

  add(reason: RefusalReason, message: string, fields: LogFields = {}): void {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + 1);
    const quiet = this.#quiet.get(reason);
    if (quiet === undefined) this.#say(reason, message, fields);
    else quiet.suppressed += 1;
  }

  close(): void {
    for (const { alarm } of this.#quiet.values()) alarm.cancel();
    this.#quiet.clear();
  }

  #say(reason: RefusalReason, message: string, fields: LogFields): void {
    this.#log.warn('peer.refused', message, { reason, ...fields });
    const alarm = this.#clock.after(QUIET_MS, () => {
      const suppressed = this.#quiet.get(reason)?.suppressed ?? 0;
      this.#quiet.delete(reason);
      if (suppressed > 0) this.#say(reason, `refused ${suppressed} more for the same reason`, { suppressed });
    });
    this.#quiet.set(reason, { alarm, suppressed: 0 });
  }
}
