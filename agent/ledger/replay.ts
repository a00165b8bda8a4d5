import { closeSync, constants, fstatSync, fsyncSync, ftruncateSync, openSync, rmSync } from 'node:fs';
import { fileFailure } from '../kernel/private-files.ts';
import { syncDirectory } from '../kernel/replaced-file.ts';
import { hashOf, NO_RECORD } from './chain.ts';
import { damagedLedger, mustBeLedgerFile } from './ledger-directory.ts';
import { signatureProblem } from './ledger-key.ts';
import { lastLineOf, linesOf } from './lines.ts';
import type { AnyRecord, Checkpoint, Head, IssuanceRecord } from './record.ts';
import { ReplayState } from './replay-state.ts';
import type { SegmentScan } from './segment-scan.ts';
import { scanSegment } from './segment-scan.ts';
import type { Segment, Stream } from './segments.ts';
import { segmentsOf } from './segments.ts';
import { stateFromJson } from './state-json.ts';

/** A file whose end was not durable yet when the agent or the machine ended; without a whole record there is nothing in it at all. */
interface Torn {
  readonly segment: Segment;
  readonly goodBytes: number;
}

/** Where a stream ends: behind its last whole record. */
export interface StreamEnd {
  readonly head: Head;
  /** The file to go on with; absent when the stream has no record. */
  readonly newest: { readonly segment: Segment; readonly scan: SegmentScan } | undefined;
  readonly torn: readonly Torn[];
}

/** What the decisions come to. */
export interface Replayed {
  readonly state: ReplayState;
  /** The last record; absent when there is none. */
  readonly last: { readonly seq: number; readonly time: string } | undefined;
  /** Whether the agent that wrote it stopped in order. */
  readonly stopped: boolean;
  /** The last checkpoint. */
  readonly checkpoint: { readonly seq: number; readonly time: number } | undefined;
}

/**
 * Finds the end of a stream. Changes nothing.
 *
 * @throws MayflyError `DATA_DIR_DAMAGED` when it is not what was written, its very end aside; `DATA_DIR_UNSAFE`, `PERMISSION_MISSING`
 */
export function endOfStream(directory: string, stream: Stream): StreamEnd {
  const segments = [...segmentsOf(directory, stream)];
  const torn: Torn[] = [];
  for (let segment = segments.pop(); segment !== undefined; segment = segments.pop()) {
    mustBeOwn(segment.path);
    const scan = scanSegment(segment);
    const { first, goodBytes, head, tornBytes } = scan;
    if (tornBytes > 0 || head === undefined) torn.push({ segment, goodBytes });
    if (first !== undefined && head !== undefined) {
      mustFollow(segment, first.record, segments.at(-1));
      return { head, newest: { segment, scan }, torn };
    }
    // Its first record was never durable, so that whatever there is stands in the file before.
    if (segments.length === 0 && segment.firstSeq !== 1) {
      throw damagedLedger(segment.path, 'has no whole record, and no file before it is there');
    }
  }
  return { head: NO_RECORD, newest: undefined, torn };
}

/**
 * Cuts off what was being written when the agent before ended: it was never durable, and nothing that hung on it was delivered.
 *
 * @throws MayflyError `PERMISSION_MISSING`
 */
export function cutTorn(directory: string, { torn }: StreamEnd): void {
  for (const { goodBytes, segment } of torn) {
    try {
      if (goodBytes === 0) rmSync(segment.path);
      else truncateDurably(segment.path, goodBytes);
      syncDirectory(directory);
    } catch (error) {
      throw fileFailure('repair', segment.path, error);
    }
  }
}

/**
 * Goes through the records since the last checkpoint.
 *
 * @param key the thumbprint of the key that must have signed it
 * @throws MayflyError `DATA_DIR_DAMAGED`
 */
export function replay({ newest }: StreamEnd, key: string): Replayed {
  if (newest === undefined) return { state: new ReplayState(), last: undefined, stopped: false, checkpoint: undefined };
  const { scan, segment } = newest;
  if (scan.checkpoint === undefined) throw damagedLedger(segment.path, 'does not begin with a checkpoint');
  const { line, offset } = scan.checkpoint;
  let state: ReplayState | undefined;
  let checkpoint: Replayed['checkpoint'];
  let last: IssuanceRecord | undefined;
  for (const { bytes, offset: at } of linesOf(segment.path, offset)) {
    if (at >= scan.goodBytes) break;
    const record: IssuanceRecord = JSON.parse(bytes.toString());
    const time = Date.parse(record.time);
    if (record.type === 'checkpoint') {
      state = checkpointState(record, key, `${segment.path} line ${line}`);
      checkpoint = { seq: record.seq, time };
    } else {
      state?.apply(record, { time, bootId: record.boot_id });
    }
    last = record;
  }
  if (state === undefined || last === undefined) throw damagedLedger(segment.path, 'changed while it was read');
  return { state, last: { seq: last.seq, time: last.time }, stopped: scan.stopped, checkpoint };
}

function checkpointState(checkpoint: Checkpoint, key: string, place: string): ReplayState {
  const problem = checkpoint.key === key ? signatureProblem(checkpoint) : 'it is signed by another key than key.pem';
  if (problem !== undefined) throw damagedLedger(place, `is a checkpoint that cannot be trusted: ${problem}`);
  return stateFromJson(checkpoint.state);
}

/** The files before the last two are `verifyLedger`'s to check: a start needs none of them. */
function mustFollow({ path }: Segment, { prev, seq }: AnyRecord, before: Segment | undefined): void {
  if (before === undefined) return;
  const line = lastLineOf(before.path);
  if (line === undefined || hashOf(line) !== prev) {
    throw damagedLedger(path, `begins with the record ${seq}, which does not follow the last one of ${before.name}`);
  }
}

function mustBeOwn(path: string): void {
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    throw fileFailure('read', path, error);
  }
  try {
    mustBeLedgerFile(path, fstatSync(descriptor));
  } finally {
    closeSync(descriptor);
  }
}

function truncateDurably(path: string, size: number): void {
  const descriptor = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    ftruncateSync(descriptor, size);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
