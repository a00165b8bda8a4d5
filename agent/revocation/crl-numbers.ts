import type { CrlNumbersReserved } from '../ledger/event.ts';
import type { LedgerState } from '../ledger/state.ts';

/** What numbers need of the ledger. */
export interface NumberLedger {
  readonly state: Pick<LedgerState, 'crlNumbersReserved'>;
  note(event: CrlNumbersReserved): void;
}

// At the fastest pace there is, half a block lasts for half a minute: a reservation is on the disk long before it is used.
const BLOCK = 10_000;

/**
 * CRL numbers, one line for all issuers: each is above every one that was ever used (RFC 5280 §5.2.3), whatever became of the agent
 * before. They are reserved in the ledger by the block, so that not every list needs a record.
 *
 * A start goes on above what was reserved, and above the milliseconds since the epoch: there are never as many lists as
 * milliseconds, so that even a reservation that a crash has kept from the disk does not lead to a number's second use. Were the clock
 * set back as well, the reservations before it still stand.
 */
export class CrlNumbers {
  readonly #ledger: NumberLedger;
  #last: number;
  #reserved: number;

  /** @param now milliseconds since the epoch */
  constructor(ledger: NumberLedger, now: number) {
    this.#ledger = ledger;
    this.#reserved = ledger.state.crlNumbersReserved;
    this.#last = Math.max(this.#reserved, now);
  }

  /** The newest that was used, or one that none is below. */
  get last(): number {
    return this.#last;
  }

  next(): number {
    this.#last += 1;
    if (this.#last + BLOCK / 2 > this.#reserved) {
      this.#reserved = this.#last + BLOCK;
      this.#ledger.note({ type: 'crl.reserved', up_to: this.#reserved });
    }
    return this.#last;
  }
}
