import type { MayflyError } from '../kernel/errors.ts';
import type { Body } from './chain.ts';
import type { JournalParts } from './journal.ts';
import { Journal } from './journal.ts';
import { Outage } from './outage.ts';
import type { Reserve } from './reserve.ts';

/** What a stream is made of. */
export interface StreamParts extends Omit<JournalParts, 'onFailed'> {
  /** In bytes: above it a file is followed by the next. */
  readonly segmentSize: number;
  readonly reserve: Reserve | undefined;
  /** What a file begins with that begins at `time`. */
  readonly first: (time: number) => Body;
  /** What shows that an outage is over, which began at `since`. */
  readonly proof: (since: number) => Body;
  /** Told when a new file is in use. */
  readonly onBegun: () => void;
  /** Told when an outage is over. */
  readonly onOver: () => void;
}

/** A stream as the agent writes it: a journal that goes from file to file, and from outage to outage. */
export class WrittenStream {
  readonly journal: Journal;
  readonly #parts: StreamParts;
  readonly #outage: Outage;
  #beginning = false;
  #closing = false;
  #name: string | undefined;

  constructor(parts: StreamParts) {
    const { clock, log, onWritten, proof, reserve, start, stream } = parts;
    this.#parts = parts;
    this.#name = start.segment?.name;
    this.journal = new Journal({
      ...parts,
      onWritten: (lines) => {
        onWritten(lines);
        this.#goOn();
      },
      onFailed: (error) => {
        this.#beginning = false;
        this.#outage.failed(error);
      },
    });
    const onOver = () => {
      parts.onOver();
      this.#goOn();
    };
    this.#outage = new Outage({ name: stream, journal: this.journal, reserve, clock, log, proof, onOver });
  }

  /** Since when it cannot be written, in milliseconds since the epoch; `undefined` when it can. */
  get outageSince(): number | undefined {
    return this.#outage.since;
  }

  /** Begins the very first file. @returns what kept it from being written */
  async beginFirst(): Promise<MayflyError | undefined> {
    if (this.journal.segment === undefined) this.#begin();
    await this.journal.flush();
    return this.journal.failure;
  }

  async close(reason: MayflyError): Promise<void> {
    this.#closing = true;
    this.#outage.close();
    await this.journal.close(reason);
  }

  /**
   * Begins the next file where one is full. Its first record may be as large as all others together, so that a large state does not
   * make the files consist of nothing else.
   */
  #goOn(): void {
    const { segment } = this.journal;
    if (segment === undefined) return;
    if (segment.name !== this.#name) {
      this.#name = segment.name;
      this.#beginning = false;
      this.#parts.onBegun();
    }
    const full = segment.bytes > Math.max(this.#parts.segmentSize, 2 * segment.firstBytes);
    // The last file ends with the words that all stopped in order.
    if (full && !this.#beginning && !this.#closing) this.#begin();
  }

  #begin(): void {
    const now = this.#parts.clock.now();
    this.#beginning = true;
    this.journal.begin(this.#parts.first(now), now);
  }
}
