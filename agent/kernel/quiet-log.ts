import type { Alarm, Clock } from './clock.ts';
import type { Log, LogFields } from './log.ts';

// Whoever is refused may come back ten thousand times a second; the log takes one line of it in this time.
const QUIET_MS = 10_000;

interface Held {
  readonly alarm: Alarm;
  count: number;
}

/**
 * A log whose warnings a stranger may cause: of those with one event and one `reason` the first is told at once, and what follows
 * as one line every ten seconds. Everything else passes.
 */
export class QuietLog implements Log {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #held = new Map<string, Held>();

  constructor(log: Log, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  debug: Log['debug'] = (event, message, fields) => this.#log.debug(event, message, fields);
  info: Log['info'] = (event, message, fields) => this.#log.info(event, message, fields);
  error: Log['error'] = (event, message, fields) => this.#log.error(event, message, fields);

  warn: Log['warn'] = (event, message, fields = {}) => {
    const reason = typeof fields['reason'] === 'string' ? fields['reason'] : '';
    const held = this.#held.get(`${event} ${reason}`);
    if (held === undefined) this.#say(event, reason, message, fields);
    else held.count += 1;
  };

  /** Forgets what it holds back. */
  close(): void {
    for (const { alarm } of this.#held.values()) alarm.cancel();
    this.#held.clear();
  }

  #say(event: string, reason: string, message: string, fields: LogFields): void {
    const key = `${event} ${reason}`;
    this.#log.warn(event, message, fields);
    const alarm = this.#clock.after(QUIET_MS, () => {
      const count = this.#held.get(key)?.count ?? 0;
      this.#held.delete(key);
      if (count > 0) this.#say(event, reason, `${count} more for the same reason`, { reason, suppressed: count });
    });
    this.#held.set(key, { alarm, count: 0 });
  }
}
