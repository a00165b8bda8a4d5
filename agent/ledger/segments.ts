import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { systemCodeOf } from '../kernel/errors.ts';

/** What was decided, and how what was issued is used: two chains, each with its own numbers. */
export type Stream = 'issuance' | 'use';

/** One file of a stream: the records from `firstSeq` up to the next file's. */
export interface Segment {
  readonly stream: Stream;
  /** `issuance-0000000000000001.jsonl` */
  readonly name: string;
  readonly path: string;
  readonly firstSeq: number;
  readonly bytes: number;
}

const NAME = /^(issuance|use)-(\d{16})\.jsonl$/;

export function segmentName(stream: Stream, firstSeq: number): string {
  return `${stream}-${String(firstSeq).padStart(16, '0')}.jsonl`;
}

/**
 * The files of a stream, oldest first; none where the directory is missing. One that is removed meanwhile is left out.
 *
 * @param directory `<data_dir>/ledger`
 */
export function segmentsOf(directory: string, stream: Stream): readonly Segment[] {
  return namesIn(directory).flatMap((name) => {
    const [, of, digits] = NAME.exec(name) ?? [];
    if (of !== stream || digits === undefined) return [];
    const path = join(directory, name);
    const stat = statSync(path, { throwIfNoEntry: false });
    return stat === undefined ? [] : [{ stream, name, path, firstSeq: Number(digits), bytes: stat.size }];
  });
}

function namesIn(directory: string): readonly string[] {
  try {
    // All names of a stream are equally long, so that their order is that of the numbers.
    return readdirSync(directory).toSorted();
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return [];
    throw error;
  }
}
