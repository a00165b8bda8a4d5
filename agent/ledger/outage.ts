import type { Alarm, Clock } from '../kernel/clock.ts';
import type { MayflyError } from '../kernel/errors.ts';
import { isMayflyError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { Body } from './chain.ts';
import type { Journal } from './journal.ts';
import type { Reserve } from './reserve.ts';

/** What an outage is about. */
export interface OutageParts {
  /** What cannot be written, for the log. */
  readonly name: string;
  readonly journal: Journal;
  /** Room for what must be written all the same. */
  readonly reserve: Reserve | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** The record that shows that it is over. `since` is in milliseconds since the epoch. */
  readonly proof: (since: number) => Body;
  readonly onOver: () => void;
}

const AGAIN_MS = 1000;

/** The time in which a journal cannot be written: gives endings the room of the reserve, and looks each second whether it is over. */
export class Outage {
  readonly #parts: OutageParts;
  #since: number | undefined;
  #alarm: Alarm | undefined;
  #closed = false;

  constructor(parts: OutageParts) {
    this.#parts = parts;
  }

  /** When it began, in milliseconds since the epoch; `undefined` while there is none. */
  get since(): number | undefined {
    return this.#since;
  }

  /** A write failed, the first one or another. */
  failed(failure: MayflyError): void {
    const { clock, log, name, reserve } = this.#parts;
    if (this.#since === undefined) {
      this.#since = clock.now();
      log.error('ledger.full', `nothing is written to the ledger's ${name}: ${failure.message}`, {
        code: failure.code,
        error: failure,
      });
    }
    if (reserve?.held === true && isMayflyError(failure, 'DISK_FULL')) {
      void this.#makeRoom(reserve);
    }
    this.#arm();
  }

  close(): void {
    this.#closed = true;
    this.#alarm?.cancel();
  }

  async #makeRoom(reserve: Reserve): Promise<void> {
    await reserve.giveUp();
    await this.#parts.journal.flush();
  }

  #arm(): void {
    if (this.#closed || this.#alarm !== undefined) return;
    this.#alarm = this.#parts.clock.after(AGAIN_MS, () => void this.#retry());
  }

  async #retry(): Promise<void> {
    const over = await this.#isOver();
    this.#alarm = undefined;
    if (!over) this.#arm();
  }

  async #isOver(): Promise<boolean> {
    const { clock, journal, log, name, onOver, proof, reserve } = this.#parts;
    const since = this.#since ?? clock.now();
    if (reserve !== undefined && !(await reserve.restored())) {
      // What other programs gave back may do for endings.
      await journal.flush();
      return false;
    }
    if (this.#closed || !(await journal.recover(proof(since), clock.now()))) return false;
    this.#since = undefined;
    log.info('ledger.recovered', `the ledger's ${name} are written again`, { since: new Date(since).toISOString() });
    onOver();
    return true;
  }
}
