import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';

const CHUNK = 1024 * 1024;
const NEWLINE = 0x0a;

/** A line of a file, without its newline. */
export interface Line {
  /** Good until the next line is asked for. */
  readonly bytes: Buffer;
  /** Where it begins. */
  readonly offset: number;
  /** From 1, counted from where the reading began. */
  readonly number: number;
  /** Whether there is a newline behind it: without one it is the last, and may not be all there. */
  readonly whole: boolean;
}

/**
 * The lines of a file, read a megabyte at a time, so that neither its size nor its growth matters.
 *
 * @param from where to begin: the offset of a line
 * @throws Error as the system has it
 */
export function* linesOf(path: string, from = 0): Generator<Line> {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    let buffer = Buffer.allocUnsafe(CHUNK);
    // What was read and not yet given out: from `start` to `end`, which stands at `offset` in the file.
    let start = 0;
    let end = 0;
    let offset = from;
    let number = 1;
    for (;;) {
      let searched = start;
      for (let at = buffer.subarray(0, end).indexOf(NEWLINE, searched); at !== -1; ) {
        yield { bytes: buffer.subarray(start, at), offset, number, whole: true };
        number += 1;
        offset += at + 1 - start;
        start = at + 1;
        searched = start;
        at = buffer.subarray(0, end).indexOf(NEWLINE, searched);
      }
      if (start > 0) buffer.copyWithin(0, start, end);
      end -= start;
      start = 0;
      if (end === buffer.length) {
        const larger = Buffer.allocUnsafe(end * 2);
        buffer.copy(larger);
        buffer = larger;
      }
      const count = readSync(descriptor, buffer, end, buffer.length - end, offset + end);
      if (count === 0) break;
      end += count;
    }
    if (end > 0) yield { bytes: buffer.subarray(0, end), offset, number, whole: false };
  } finally {
    closeSync(descriptor);
  }
}

/**
 * The last line of a file that ends with a newline, without it; `undefined` when the file is empty or ends otherwise.
 *
 * @throws Error as the system has it
 */
export function lastLineOf(path: string): Buffer | undefined {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const { size } = fstatSync(descriptor);
    for (let length = Math.min(size, 64 * 1024); length > 0; length = Math.min(size, length * 4)) {
      const end = Buffer.allocUnsafe(length);
      const tail = end.subarray(0, readSync(descriptor, end, 0, length, size - length));
      if (tail.at(-1) !== NEWLINE) return undefined;
      const before = tail.lastIndexOf(NEWLINE, tail.length - 2);
      if (before !== -1 || length === size) return tail.subarray(before + 1, -1);
    }
    return undefined;
  } finally {
    closeSync(descriptor);
  }
}
