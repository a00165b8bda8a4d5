import { follows, hashOf } from './chain.ts';
import { damagedLedger } from './ledger-directory.ts';
import { linesOf } from './lines.ts';
import type { AnyRecord, Head } from './record.ts';
import type { Segment } from './segments.ts';

/** What is in a file of the ledger, up to its last whole record. */
export interface SegmentScan {
  /** The first record and its line's length with the newline; absent when not even that is whole. */
  readonly first: { readonly record: AnyRecord; readonly bytes: number } | undefined;
  /** Of the last whole record. */
  readonly head: Head | undefined;
  /** Where the last checkpoint begins. */
  readonly checkpoint: { readonly offset: number; readonly line: number } | undefined;
  /** Whether the last record, checkpoints aside, says that the agent stopped. */
  readonly stopped: boolean;
  /** Up to the end of the last whole record. */
  readonly goodBytes: number;
  /** What stands behind it: it was being written when the agent or the machine ended. */
  readonly tornBytes: number;
}

// The type is the last member of both.
const CHECKPOINT = '"type":"checkpoint"}';
const STOPPED = '"type":"agent.stopped"}';

/**
 * Checks the hashes and the chain of a file by its bytes.
 *
 * @throws MayflyError `DATA_DIR_DAMAGED` when a record is not what was written and whole ones stand behind it, or one does not follow
 *   the one before
 */
export function scanSegment(segment: Segment): SegmentScan {
  let first: SegmentScan['first'];
  let head: Head | undefined;
  let checkpoint: SegmentScan['checkpoint'];
  let stopped = false;
  let goodBytes = 0;
  let bad: number | undefined;
  for (const { bytes, number, offset, whole } of linesOf(segment.path)) {
    const hash = whole ? hashOf(bytes) : undefined;
    if (hash === undefined) {
      bad ??= number;
      continue;
    }
    if (bad !== undefined) throw damagedLedger(`${segment.path} line ${bad}`, 'is not what was written');
    if (head === undefined) {
      const record = firstRecord(segment, bytes);
      first = { record, bytes: bytes.length + 1 };
      head = { seq: record.seq, hash };
    } else {
      if (!follows(bytes, head))
        throw damagedLedger(`${segment.path} line ${number}`, 'does not follow the line before');
      head = { seq: head.seq + 1, hash };
    }
    if (endsWith(bytes, CHECKPOINT)) checkpoint = { offset, line: number };
    else stopped = endsWith(bytes, STOPPED);
    goodBytes = offset + bytes.length + 1;
  }
  return { first, head, checkpoint, stopped, goodBytes, tornBytes: segment.bytes - goodBytes };
}

function endsWith(bytes: Buffer, end: string): boolean {
  return bytes.includes(end, bytes.length - end.length);
}

function firstRecord({ firstSeq, path }: Segment, bytes: Buffer): AnyRecord {
  const record: AnyRecord = JSON.parse(bytes.toString());
  if (record.seq !== firstSeq) {
    throw damagedLedger(path, `begins with the record ${record.seq}, not with the one that its name says`);
  }
  return record;
}
