import { rmSync } from 'node:fs';
import { lastLineOf } from './lines.ts';
import type { Segment } from './segments.ts';
import { segmentsOf } from './segments.ts';

/** How much of the ledger is kept. */
export interface Retention {
  /** Milliseconds since a file's last record. */
  readonly maxAge: number;
  /** Bytes of all files of both streams. */
  readonly maxSize: number;
}

/**
 * Removes the oldest files of the ledger, whole ones, as far as age and size say so. The newest file of each stream stays: it begins
 * with a signed record that vouches for all before it, and a start needs no other. Where it is size that counts, the stream that
 * takes more gives way, so that a flood of uses does not wash the decisions away.
 *
 * @returns the names of the files that were removed
 * @throws Error as the system has it
 */
export function retain(directory: string, { maxAge, maxSize }: Retention, now: number): readonly string[] {
  const streams = [[...segmentsOf(directory, 'issuance')], [...segmentsOf(directory, 'use')]];
  const removed: string[] = [];
  const removeOldest = (segments: Segment[]): void => {
    const segment = segments.shift();
    if (segment === undefined) return;
    rmSync(segment.path, { force: true });
    removed.push(segment.name);
  };
  for (const segments of streams) {
    while (segments.length > 1 && lastTime(segments[0]) < now - maxAge) removeOldest(segments);
  }
  while (bytesOf(streams.flat()) > maxSize) {
    const [largest] = streams.filter((segments) => segments.length > 1).toSorted((a, b) => bytesOf(b) - bytesOf(a));
    if (largest === undefined) break;
    removeOldest(largest);
  }
  return removed;
}

export function bytesOf(segments: readonly Segment[]): number {
  return segments.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Of a file whose last line is no record nothing is known: it stays until it is too much. */
function lastTime(segment: Segment | undefined): number {
  const line = segment === undefined ? undefined : lastLineOf(segment.path);
  // The last member of that name is the record's own: those of a checkpoint's state are spelled otherwise.
  const text = line === undefined ? undefined : /"time":"([^"]+)"[^{]*$/.exec(line.subarray(-4096).toString())?.[1];
  const time = text === undefined ? Number.NaN : Date.parse(text);
  return Number.isNaN(time) ? Number.POSITIVE_INFINITY : time;
}
