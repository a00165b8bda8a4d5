import { MayflyError, systemCodeOf } from '../kernel/errors.ts';
import { fileFailure } from '../kernel/private-files.ts';
import { linesOf } from './lines.ts';
import type { RecordOf } from './record.ts';
import type { Segment, Stream } from './segments.ts';
import { segmentsOf } from './segments.ts';

/** A record as it was read, and where it stands. */
export interface ReadRecord<S extends Stream = Stream> {
  readonly stream: S;
  readonly record: RecordOf[S];
  /** The record's own text, without the newline. */
  readonly line: string;
  /** The file's name. */
  readonly segment: string;
  /** From 1. */
  readonly lineNumber: number;
}

/** From which record on: its number, or its time in milliseconds since the epoch. */
export type Since = { readonly seq: number } | { readonly time: number };

/**
 * The records of a stream in order, read as they are asked for. It may run beside an agent: a last line that is not finished is
 * left out. Records are not checked, that is `verifyLedger`'s.
 *
 * @param directory `<data_dir>/ledger`
 * @throws MayflyError `DATA_DIR_DAMAGED` at a line that is no record, `PERMISSION_MISSING`
 */
export function* readLedger<S extends Stream>(directory: string, stream: S, since?: Since): Generator<ReadRecord<S>> {
  try {
    const segments = segmentsOf(directory, stream);
    for (const [index, segment] of segments.entries()) {
      if (!isAllBefore(segments[index + 1], since)) yield* recordsIn(stream, segment, since);
    }
  } catch (error) {
    throw fileFailure('read', directory, error);
  }
}

function* recordsIn<S extends Stream>(stream: S, segment: Segment, since?: Since): Generator<ReadRecord<S>> {
  try {
    for (const { bytes, number, whole } of linesOf(segment.path)) {
      if (!whole) return;
      const line = bytes.toString();
      const record: RecordOf[S] = parsed(line, segment, number);
      if (isSince(record, since)) yield { stream, record, line, segment: segment.name, lineNumber: number };
    }
  } catch (error) {
    // Removed since it was listed: it was too old.
    if (systemCodeOf(error) !== 'ENOENT') throw error;
  }
}

function parsed(line: string, segment: Segment, number: number) {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw new MayflyError('DATA_DIR_DAMAGED', `${segment.path} line ${number} is no record; run mayfly audit verify`, {
      cause: error,
    });
  }
}

/** Whether a file can be left out, for what the next one begins with. */
function isAllBefore(next: Segment | undefined, since: Since | undefined): boolean {
  return next !== undefined && since !== undefined && 'seq' in since && next.firstSeq <= since.seq;
}

function isSince(record: { readonly seq: number; readonly time: string }, since: Since | undefined): boolean {
  if (since === undefined) return true;
  return 'seq' in since ? record.seq >= since.seq : Date.parse(record.time) >= since.time;
}
