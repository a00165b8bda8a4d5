/** Where the ledger's records are to be had as they are written. */
export interface Events {
  /** The newest records, oldest first. */
  recent(): readonly string[];
  /** Calls `listener` with each record from now on; returns how to take it back. */
  subscribe(listener: (record: string) => void): () => void;
}

/** A record, and how many were left out before it. */
export interface StreamedEvent {
  readonly record: string;
  readonly lost: bigint;
}

// A reader that is slower than the agent is told how many it missed: what it did not read must not fill the agent's memory.
const MOST_WAITING = 10_000;

/** The ledger's records for one reader: those of a moment ago if it wants them, and those to come as long as it follows. */
export async function* streamEvents(
  events: Events,
  wanted: { readonly recent: boolean; readonly follow: boolean },
  signal: AbortSignal,
): AsyncGenerator<StreamedEvent, void, undefined> {
  let waiting: string[] = wanted.recent ? [...events.recent()] : [];
  let lost = 0;
  let wake = () => {};
  const forget = events.subscribe((record) => {
    if (waiting.length < MOST_WAITING) waiting.push(record);
    else lost += 1;
    wake();
  });
  const stop = () => wake();
  signal.addEventListener('abort', stop);
  try {
    for (;;) {
      const batch = waiting;
      const missed = lost;
      waiting = [];
      lost = 0;
      for (const record of batch) {
        if (signal.aborted) return;
        yield { record, lost: 0n };
      }
      if (missed > 0) yield { record: '', lost: BigInt(missed) };
      if (!wanted.follow || signal.aborted) return;
      if (waiting.length === 0 && lost === 0) {
        const { promise, resolve } = Promise.withResolvers<void>();
        wake = resolve;
        await promise;
      }
    }
  } finally {
    forget();
    signal.removeEventListener('abort', stop);
  }
}
