import type { Alarm, Clock } from '../kernel/clock.ts';
import type { Refusal } from '../ledger/event.ts';
import type { IssuanceLedger } from '../ledger/issuance-ledger.ts';

// A process that is refused asks again, as fast as it likes: it must not push what is worth keeping out of the ledger.
const QUIET_MS = 10_000;

interface Held {
  readonly alarm: Alarm;
  newest: Refusal | undefined;
  count: number;
}

/** Records refusals: the first of a kind to a process at once, and what repeats it as one record every ten seconds. */
export class Refused {
  readonly #ledger: Pick<IssuanceLedger, 'refuse'>;
  readonly #clock: Clock;
  readonly #held = new Map<string, Held>();

  constructor(ledger: Pick<IssuanceLedger, 'refuse'>, clock: Clock) {
    this.#ledger = ledger;
    this.#clock = clock;
  }

  /** @param process the instance's key */
  record(process: string, event: Refusal): void {
    const about = event.type === 'svid.refused' ? [event.entry, event.rule] : [];
    const key = [process, event.kind, ...about].join(' ');
    const held = this.#held.get(key);
    if (held === undefined) {
      this.#ledger.refuse(event);
      this.#hold(key);
    } else {
      held.newest = event;
      held.count += 1;
    }
  }

  /** Records what is held back. */
  close(): void {
    for (const [key, { alarm }] of this.#held) {
      alarm.cancel();
      this.#release(key);
    }
  }

  #hold(key: string): void {
    const alarm = this.#clock.after(QUIET_MS, () => {
      if (this.#release(key)) this.#hold(key);
    });
    this.#held.set(key, { alarm, newest: undefined, count: 0 });
  }

  /** True when there was something. */
  #release(key: string): boolean {
    const held = this.#held.get(key);
    this.#held.delete(key);
    if (held?.newest === undefined) return false;
    this.#ledger.refuse({ ...held.newest, repeated: held.count });
    return true;
  }
}
