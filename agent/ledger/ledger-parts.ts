import type { Timestamp } from '@bufbuild/protobuf/wkt';
import type { Clock } from '../kernel/clock.ts';
import type { Log } from '../kernel/log.ts';
import type { LedgerFiles, Sync } from './ledger-files.ts';
import type { Stream } from './segments.ts';

/** What a ledger is made of. Sizes in bytes, times in milliseconds. */
export interface LedgerParts {
  /** `<data_dir>/ledger` */
  readonly directory: string;
  /** Which run of the machine this is. */
  readonly bootId: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly sync: Sync;
  readonly segmentSize: number;
  readonly checkpointInterval: number;
  readonly maxAge: number;
  readonly maxSize: number;
  readonly reserve: number;
  /** The machine's, where it is left out. */
  readonly files?: LedgerFiles;
  /** Told how long each write took until it was durable, in milliseconds. */
  readonly timed?: ((stream: Stream, ms: number) => void) | undefined;
}

/** What the agent before this one left. */
export interface Before {
  readonly lastSeq: number;
  readonly lastTime: string;
  /** Whether it stopped in order. */
  readonly stopped: boolean;
}

/** What of the ledger changes from moment to moment, for who watches it. Times in milliseconds since the epoch. */
export interface LedgerFigures {
  /** Since when the oldest record waits to be written, of either stream. */
  readonly waitingSince: number | undefined;
  /** Since when nothing can be issued, since it cannot be recorded. */
  readonly outageSince: number | undefined;
  /** What was not recorded since the start: too much waited, or there was no room. */
  readonly lost: { readonly refusals: number; readonly uses: number };
}

/** What `status` says of the ledger. */
export interface LedgerStatus {
  readonly directory: string;
  readonly head: string;
  readonly useHead: string;
  readonly sync: Sync;
  readonly writable: boolean;
  readonly error: string;
  readonly pending: number;
  readonly lastFlushMs: number;
  readonly lastBatch: number;
  readonly segments: number;
  readonly bytes: bigint;
  readonly checkpointAt?: Timestamp;
  readonly key: string;
}
