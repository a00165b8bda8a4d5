import type { LedgerEvent, Refusal, SvidIssued, UseEvent } from './event.ts';
import type { LedgerState } from './state.ts';

/** What has happened already when it is recorded. */
export type NotedEvent = Exclude<LedgerEvent, SvidIssued | Refusal>;

/** The ledger as those see it who decide. */
export interface IssuanceLedger {
  /** What the ledger says with everything in it that was handed over until now. */
  readonly state: LedgerState;
  /**
   * Resolves once the record is durable. What it tells of may leave the agent then, and not before; if this rejects it was never
   * issued.
   *
   * @throws MayflyError `DISK_FULL` when there is no room for it, `AUTHORITY_UNAVAILABLE` when it cannot be written for another
   *   reason, `SHUTTING_DOWN`
   */
  append(event: SvidIssued): Promise<void>;
  /** Records what has happened already and waits for nobody: it takes effect in the {@link state} at once, whatever the disk does. */
  note(event: NotedEvent): void;
  /** Records a refusal. While there is no room refusals are counted and not kept. */
  refuse(event: Refusal): void;
  /** Records a use, in the stream of uses. It waits for nobody, and is left out when too many wait already. */
  use(event: UseEvent): void;
}
