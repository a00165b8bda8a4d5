import type { Alarm, Clock } from '../kernel/clock.ts';
import type { Refusal } from '../ledger/event.ts';
import type { IssuanceLedger } from '../ledger/issuance-ledger.ts';

// A process that is refused asks again, as fast as it likes: it must not push what is worth keeping out of the ledger.
const QUIET_MS = 10_000;

// Nor must a user who starts processes as fast as he likes, each of which is refused for the first time.
const MOST_OF_A_USER = 32;

interface Held {
  readonly alarm: Alarm;
  /** Whose process it is about; `undefined` where it is about all others of a user. */
  readonly uid: number | undefined;
  newest: Refusal | undefined;
  count: number;
}

/**
 * Records refusals: the first of a kind to a process at once, and what repeats it as one record every ten seconds. Of a user of whom
 * dozens of processes are refused, the others are told of together as if they were one.
 */
export class Refused {
  readonly #ledger: Pick<IssuanceLedger, 'refuse'>;
  readonly #clock: Clock;
  readonly #held = new Map<string, Held>();
  /** How many are held that are about one process, by its user. */
  readonly #byUid = new Map<number, number>();

  constructor(ledger: Pick<IssuanceLedger, 'refuse'>, clock: Clock) {
    this.#ledger = ledger;
    this.#clock = clock;
  }

  /** @param process the instance's key */
  record(process: string, event: Refusal): void {
    const { uid } = event.instance;
    const about = [event.kind, ...(event.type === 'svid.refused' ? [event.entry, event.rule] : [])].join(' ');
    const own = `${process} ${about}`;
    const alone = this.#held.has(own) || (this.#byUid.get(uid) ?? 0) < MOST_OF_A_USER;
    const key = alone ? own : `user ${uid} ${about}`;
    const held = this.#held.get(key);
    if (held === undefined) {
      this.#ledger.refuse(event);
      this.#hold(key, alone ? uid : undefined);
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

  #hold(key: string, uid: number | undefined): void {
    const alarm = this.#clock.after(QUIET_MS, () => {
      if (this.#release(key)) this.#hold(key, uid);
    });
    this.#held.set(key, { alarm, uid, newest: undefined, count: 0 });
    this.#count(uid, 1);
  }

  #count(uid: number | undefined, more: 1 | -1): void {
    if (uid === undefined) return;
    const count = (this.#byUid.get(uid) ?? 0) + more;
    if (count === 0) this.#byUid.delete(uid);
    else this.#byUid.set(uid, count);
  }

  /** True when there was something. */
  #release(key: string): boolean {
    const held = this.#held.get(key);
    this.#held.delete(key);
    this.#count(held?.uid, -1);
    if (held?.newest === undefined) return false;
    this.#ledger.refuse({ ...held.newest, repeated: held.count });
    return true;
  }
}
