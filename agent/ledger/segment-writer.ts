import { join } from 'node:path';
import type { LedgerFile, LedgerFiles } from './ledger-files.ts';
import type { Stream } from './segments.ts';
import { segmentName } from './segments.ts';

/** A file that is written to. */
export interface OpenSegment {
  readonly name: string;
  readonly file: LedgerFile;
  /** Up to the last record that is durable. */
  readonly bytes: number;
  /** Of the record that stands first. */
  readonly firstBytes: number;
}

/** Where a stream's files are. */
export interface SegmentPlace {
  readonly directory: string;
  readonly stream: Stream;
  readonly files: LedgerFiles;
}

/**
 * The files of a stream as they are written, one at a time. A write that fails leaves them as they were; where even that fails it is
 * made good before the next write, because what is left over must not stand behind, or beside, good records.
 */
export class SegmentWriter {
  readonly #place: SegmentPlace;
  #segment: OpenSegment | undefined;
  /** Whether the file may be longer than its last durable record. */
  #ragged = false;
  /** A file that could not be begun, nor removed. */
  #leftover: string | undefined;

  constructor(place: SegmentPlace, segment: OpenSegment | undefined) {
    this.#place = place;
    this.#segment = segment;
  }

  get segment(): OpenSegment | undefined {
    return this.#segment;
  }

  /** Writes behind what is there. @throws Error as the system has it */
  async append(segment: OpenSegment, bytes: Buffer): Promise<void> {
    await this.#makeGood();
    this.#ragged = true;
    try {
      await segment.file.write(bytes, segment.bytes);
    } catch (error) {
      await this.#makeGood().catch(() => undefined);
      throw error;
    }
    this.#ragged = false;
    this.#segment = { ...segment, bytes: segment.bytes + bytes.length };
  }

  /**
   * Writes what a new file begins with. The one before stays in use until the new one and its name are durable.
   *
   * @throws Error as the system has it
   */
  async begin(firstSeq: number, bytes: Buffer, firstBytes: number): Promise<void> {
    await this.#makeGood();
    const { directory, files, stream } = this.#place;
    const name = segmentName(stream, firstSeq);
    const before = this.#segment;
    let file: LedgerFile | undefined;
    this.#leftover = join(directory, name);
    try {
      file = await files.create(this.#leftover);
      await file.write(bytes, 0);
      files.syncDirectory(directory);
    } catch (error) {
      await file?.close().catch(() => undefined);
      await this.#makeGood().catch(() => undefined);
      throw error;
    }
    this.#leftover = undefined;
    this.#segment = { name, file, bytes: bytes.length, firstBytes };
    await before?.file.close().catch(() => undefined);
  }

  async close(): Promise<void> {
    await this.#segment?.file.close();
    this.#segment = undefined;
  }

  async #makeGood(): Promise<void> {
    if (this.#leftover !== undefined) await this.#place.files.remove(this.#leftover);
    this.#leftover = undefined;
    if (this.#ragged) await this.#segment?.file.truncate(this.#segment.bytes);
    this.#ragged = false;
  }
}
