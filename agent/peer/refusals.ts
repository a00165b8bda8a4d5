import type { Clock } from '../kernel/clock.ts';
import type { Log, LogFields } from '../kernel/log.ts';
import { QuietLog } from '../kernel/quiet-log.ts';
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

const REASONS: Readonly<Record<RefusalReason, true>> = {
  'no-descriptor': true,
  'other-pid-namespace': true,
  'other-user-namespace': true,
  exited: true,
  changed: true,
  unverifiable: true,
  'too-many-connections': true,
  'too-many-connections-of-user': true,
  'too-many-calls': true,
  'too-many-attestations': true,
  'not-accepted': true,
  'first-request': true,
};

/** Every reason there is. */
export const REFUSAL_REASONS = Object.keys(REASONS) as readonly RefusalReason[];

/** Counts what was refused, and logs it: the first of each reason at once, then what came since, as one line every ten seconds. */
export class Refusals {
  readonly #log: QuietLog;
  readonly #counts = new Map<RefusalReason, number>();

  constructor(log: Log, clock: Clock) {
    this.#log = new QuietLog(log, clock);
  }

  /** How often each reason was given, for `status`; what never happened is not in it. */
  get counts(): ReadonlyMap<RefusalReason, number> {
    return this.#counts;
  }

  add(reason: RefusalReason, message: string, fields: LogFields = {}): void {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + 1);
    this.#log.warn('peer.refused', message, { reason, ...fields });
  }

  close(): void {
    this.#log.close();
  }
}
