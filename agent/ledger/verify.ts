import { systemCodeOf } from '../kernel/errors.ts';
import { fileFailure } from '../kernel/private-files.ts';
import { linesOf } from './lines.ts';
import type { Head } from './record.ts';
import type { Expectation } from './record-check.ts';
import { RecordCheck } from './record-check.ts';
import type { Segment, Stream } from './segments.ts';
import { segmentsOf } from './segments.ts';

/** One place where a ledger is not what was written. */
export interface Fault {
  /** The file's name. */
  readonly segment: string;
  /** From 1; absent when the whole file is meant. */
  readonly line?: number;
  /** The record's number, where one can be told. */
  readonly seq?: number;
  /** A sentence. */
  readonly message: string;
}

/** What was found. The stream is as it was written when there are no `problems`. */
export interface Verification {
  readonly stream: Stream;
  readonly segments: number;
  readonly records: number;
  /** Signed records, each of them checked. */
  readonly checkpoints: number;
  /** The first record that is still there. */
  readonly first: { readonly seq: number; readonly time: string } | undefined;
  /** The last record. */
  readonly last: { readonly seq: number; readonly time: string } | undefined;
  /** The newest whole record. */
  readonly head: Head | undefined;
  /** The thumbprints of the keys that signed. */
  readonly keys: readonly string[];
  /** Whether the last line is not finished: an agent that runs is about to, one that crashed could not. */
  readonly unfinished: boolean;
  /** The first place in each file, in order. */
  readonly problems: readonly Fault[];
}

/**
 * Checks a stream from its first record that is kept to its last: canonical form, hashes, chain, numbers, names of files, signatures,
 * and that each checkpoint says what the records before it come to. It may run beside an agent, and keeps no more in memory than
 * the state.
 *
 * Without a head from elsewhere the claim is limited to what is there: records that were cut off its end leave no trace, nor does a
 * ledger that was written anew as a whole, with the key that lies beside it.
 *
 * @param directory `<data_dir>/ledger`
 * @throws MayflyError `PERMISSION_MISSING` when a file cannot be read
 */
export function verifyLedger(directory: string, stream: Stream, expectation: Expectation = {}): Verification {
  const segments = segmentsOf(directory, stream);
  const check = new RecordCheck(expectation);
  const problems: Fault[] = [];
  let unfinished = false;
  for (const [index, segment] of segments.entries()) {
    const found = verifySegment(segment, index === segments.length - 1, check);
    unfinished = found.unfinished;
    if (found.fault !== undefined) problems.push(found.fault);
  }
  const missing = check.missingHead();
  if (missing !== undefined) problems.push({ segment: segments.at(-1)?.name ?? stream, ...missing });
  const { checkpoints, first, head, keys, last, records } = check;
  return {
    stream,
    segments: segments.length,
    records,
    checkpoints,
    first,
    last,
    head,
    keys: [...keys],
    unfinished,
    problems,
  };
}

function verifySegment(segment: Segment, isNewest: boolean, check: RecordCheck) {
  let unfinished = false;
  let fault: Fault | undefined;
  try {
    check.begin(segment);
    for (const { bytes, number, whole } of linesOf(segment.path)) {
      // What is behind the first fault is counted and held against the head, and not judged.
      if (!whole && isNewest) unfinished = true;
      else {
        const problem = whole
          ? check.record(bytes)
          : { message: 'the last line is not finished, and another file follows' };
        if (problem !== undefined) fault ??= { segment: segment.name, line: number, ...problem };
      }
    }
    const problem = check.end();
    if (problem !== undefined) fault ??= { segment: segment.name, ...problem };
  } catch (error) {
    // Removed since the files were listed: it was too old.
    if (systemCodeOf(error) !== 'ENOENT') throw fileFailure('read', segment.path, error);
  }
  return { fault, unfinished };
}
