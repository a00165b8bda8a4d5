import type { IssuanceLedger } from '../ledger/issuance-ledger.ts';
import type { LiveLease } from '../ledger/state.ts';
import { processKey } from '../ledger/state.ts';

/** A process that is not given an identity of an entry again. */
export interface Bar {
  readonly instance: { readonly pid: number; readonly startTime: string };
  readonly entry: string;
  readonly spiffeId: string;
}

/** Who was revoked by hand is not given the same again until it is allowed or starts anew. */
export class Bars {
  readonly #ledger: Pick<IssuanceLedger, 'state' | 'note'>;

  constructor(ledger: Pick<IssuanceLedger, 'state' | 'note'>) {
    this.#ledger = ledger;
  }

  /** How many processes are kept from something. */
  get size(): number {
    return this.#ledger.state.barred.size;
  }

  /** Keeps the process of a lease from being given the same again, for the operator's reason. */
  bar({ bootId, entry, instance, spiffeId }: LiveLease, reason: string): void {
    const { pid, start_time } = instance;
    if (this.#isBarred(processKey(bootId, pid, start_time), entry)) return;
    this.#ledger.note({ type: 'reissue.barred', pid, start_time, entry, spiffe_id: spiffeId, reason });
  }

  isBarred(
    { bootId, pid, startTime }: { readonly bootId: string; readonly pid: number; readonly startTime: string },
    entryId: string,
  ): boolean {
    // Nearly always there is none, and every issuance asks.
    return this.size > 0 && this.#isBarred(processKey(bootId, pid, startTime), entryId);
  }

  /** Takes back the bars that are meant. @returns how many processes there were */
  allow(isMeant: (bar: Bar) => boolean, reason: string): number {
    let allowed = 0;
    // Collected first: what is noted changes what is gone through.
    for (const [key, entries] of [...this.#ledger.state.barred].map(([each, of]) => [each, [...of]] as const)) {
      const instance = processOf(key);
      const meant = entries.filter(([entry, spiffeId]) => isMeant({ instance, entry, spiffeId }));
      for (const [entry, spiffe_id] of meant) {
        const { pid, startTime: start_time } = instance;
        this.#ledger.note({ type: 'reissue.allowed', pid, start_time, entry, spiffe_id, reason });
      }
      if (meant.length > 0) allowed += 1;
    }
    return allowed;
  }

  #isBarred(key: string, entryId: string): boolean {
    return this.#ledger.state.barred.get(key)?.has(entryId) === true;
  }
}

/** The way back from {@link processKey}. */
function processOf(key: string): Bar['instance'] {
  const [, pid = '', startTime = ''] = key.split('/');
  return { pid: Number(pid), startTime };
}
