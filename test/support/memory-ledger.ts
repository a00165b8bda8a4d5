import type { Clock } from '../../agent/kernel/clock.ts';
import { MayflyError } from '../../agent/kernel/errors.ts';
import type { LedgerEvent, Refusal, SvidIssued, UseEvent } from '../../agent/ledger/event.ts';
import type { IssuanceLedger, NotedEvent } from '../../agent/ledger/issuance-ledger.ts';
import { ReplayState } from '../../agent/ledger/replay-state.ts';

/** The event that a type may stand in. */
type EventOf<T, E = LedgerEvent> = E extends { readonly type: infer Types } ? (T extends Types ? E : never) : never;

/** A ledger that keeps its records in memory, where a test looks at them. The state is the real one. */
export class MemoryLedger implements IssuanceLedger {
  readonly state = new ReplayState();
  /** What was recorded, in order. */
  readonly events: LedgerEvent[] = [];
  readonly uses: UseEvent[] = [];
  /** While set there is room for endings alone. */
  full = false;
  /** Refusals that were left out for want of room. */
  lost = 0;
  readonly #clock: Clock;
  readonly #bootId: string;

  constructor(clock: Clock, bootId = '00000000-0000-4000-8000-000000000001') {
    this.#clock = clock;
    this.#bootId = bootId;
  }

  /** Applies at once and is durable a microtask later, if `full` is not set by then. */
  async append(event: SvidIssued): Promise<void> {
    this.#mustHaveRoom();
    this.#apply(event);
    await Promise.resolve();
    try {
      this.#mustHaveRoom();
    } catch (error) {
      this.state.forgetIssued(event);
      throw error;
    }
    this.events.push(event);
  }

  note(event: NotedEvent): void {
    this.#apply(event);
    this.events.push(event);
  }

  refuse(event: Refusal): void {
    if (this.full) this.lost += 1;
    else this.events.push(event);
  }

  use(event: UseEvent): void {
    if (!this.full) this.uses.push(event);
  }

  /** The recorded events of one type. */
  of<T extends LedgerEvent['type']>(type: T): readonly EventOf<T>[] {
    return this.events.filter((event): event is EventOf<T> => event.type === type);
  }

  #apply(event: LedgerEvent): void {
    this.state.apply(event, { time: this.#clock.now(), bootId: this.#bootId });
  }

  #mustHaveRoom(): void {
    if (this.full) throw new MayflyError('DISK_FULL', 'there is no room for the ledger');
  }
}
