import type { Clock } from '../kernel/clock.ts';
import { asError, isLackOfRoom, MayflyError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { Body } from './chain.ts';
import { chained } from './chain.ts';
import type { Head } from './record.ts';
import type { OpenSegment, SegmentPlace } from './segment-writer.ts';
import { SegmentWriter } from './segment-writer.ts';
import type { Stream } from './segments.ts';

/** What a journal is made of. */
export interface JournalParts extends SegmentPlace {
  readonly bootId: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Where it goes on; `segment` is absent when there is no file yet. */
  readonly start: { readonly head: Head; readonly segment: OpenSegment | undefined };
  /** Told of each write, once it is durable. */
  readonly onWritten: (lines: readonly string[]) => void;
  /** Told when a write failed, each time: from then on the journal is closed to all but endings, until {@link Journal.recover}. */
  readonly onFailed: (error: MayflyError) => void;
  /** Told how long each write took until it was durable, in milliseconds. */
  readonly timed?: ((stream: Stream, ms: number) => void) | undefined;
}

/**
 * What becomes of a record that cannot be written: who waits for it is told (`awaited`), it stays until it can (`kept`), or it is left
 * out (`droppable`).
 */
type Keeping = 'awaited' | 'kept' | 'droppable';

interface Queued {
  readonly body: Body;
  readonly keeping: Keeping;
  readonly time: string;
  /** Whether it is the first of a new file. */
  readonly begins: boolean;
  readonly settle: PromiseWithResolvers<void> | undefined;
}

// More than this in one write would keep the thread from everything else for too long.
const MAX_BATCH = 1024;

// Beyond this many that wait, what can be left out is.
const MAX_DROPPABLE = 20_000;

/**
 * One stream of records: each numbered, dated and chained to the one before, appended to a file and durable before anybody is told so.
 * Whoever comes while a write is under way shares the next one (group commit), which begins as soon as that one ends.
 *
 * A write that fails leaves the file as it was.
 */
export class Journal {
  readonly #parts: JournalParts;
  readonly #queue: Queued[] = [];
  readonly #writer: SegmentWriter;
  readonly #idle: (() => void)[] = [];
  #head: Head;
  #running = false;
  #failure: MayflyError | undefined;
  #closed = false;
  #lastFlush = { ms: 0, records: 0 };

  constructor(parts: JournalParts) {
    this.#parts = parts;
    this.#head = parts.start.head;
    this.#writer = new SegmentWriter(parts, parts.start.segment);
  }

  /** The newest durable record. */
  get head(): Head {
    return this.#head;
  }

  get segment(): OpenSegment | undefined {
    return this.#writer.segment;
  }

  /** Records that wait to be written. */
  get pending(): number {
    return this.#queue.length;
  }

  /** Since when the oldest record waits, in milliseconds since the epoch; `undefined` when none does. */
  get waitingSince(): number | undefined {
    const [oldest] = this.#queue;
    return oldest === undefined ? undefined : Date.parse(oldest.time);
  }

  get lastFlush(): { readonly ms: number; readonly records: number } {
    return this.#lastFlush;
  }

  /** Why it takes nothing but endings, while it does not. */
  get failure(): MayflyError | undefined {
    return this.#failure;
  }

  /** Resolves when the record is durable; rejects when it is not and never will be. */
  append(body: Body, time: number): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const settle = Promise.withResolvers<void>();
    this.#enqueue({ body, keeping: 'awaited', time: timeText(time), begins: false, settle });
    return settle.promise;
  }

  /** Waits for room if it must. */
  note(body: Body, time: number): void {
    this.#enqueue({ body, keeping: 'kept', time: timeText(time), begins: false, settle: undefined });
  }

  /** @returns whether it was taken: it is not while nothing can be written, or too much waits */
  offer(body: Body, time: number): boolean {
    if (this.#failure !== undefined || this.#queue.length >= MAX_DROPPABLE) return false;
    this.#enqueue({ body, keeping: 'droppable', time: timeText(time), begins: false, settle: undefined });
    return true;
  }

  /** Begins a new file behind what waits already, with this record. Is left out while nothing can be written. */
  begin(body: Body, time: number): void {
    if (this.#failure !== undefined) return;
    this.#enqueue({ body, keeping: 'droppable', time: timeText(time), begins: true, settle: undefined });
  }

  /** Signs what waits already, with this record. Is left out while nothing can be written. */
  mark(body: Body, time: number): void {
    if (this.#failure !== undefined) return;
    this.#enqueue({ body, keeping: 'droppable', time: timeText(time), begins: false, settle: undefined });
  }

  /** As if a write had failed. */
  suspend(error: MayflyError): void {
    this.#failed(error);
  }

  /** Tries whether it can be written again, with this record behind what waits. @returns whether it takes everything again */
  async recover(body: Body, time: number): Promise<boolean> {
    const settle = Promise.withResolvers<void>();
    const begins = this.segment === undefined;
    this.#enqueue({ body, keeping: 'awaited', time: timeText(time), begins, settle });
    try {
      await settle.promise;
      this.#failure = undefined;
      return true;
    } catch {
      return false;
    }
  }

  /** Tries what waits once more. Resolves when nothing is under way. */
  async flush(): Promise<void> {
    this.#run();
    if (!this.#running) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#idle.push(resolve);
    return promise;
  }

  /** Writes what waits, as far as it can, and closes the file. What comes afterwards is left out. */
  async close(reason: MayflyError): Promise<void> {
    await this.flush();
    this.#closed = true;
    this.#failure = reason;
    const left = this.#queue.splice(0);
    for (const { settle } of left) settle?.reject(reason);
    if (left.length > 0) {
      this.#parts.log.error('ledger.lost', `${left.length} records could not be written before the end`);
    }
    await this.#writer.close();
  }

  #enqueue(queued: Queued): void {
    if (this.#closed) return;
    this.#queue.push(queued);
    this.#run();
  }

  #run(): void {
    if (this.#running || this.#queue.length === 0) return;
    this.#running = true;
    // What is recorded in one turn (an end, and what it revokes) is written in one go.
    queueMicrotask(() => void this.#writeAll());
  }

  async #writeAll(): Promise<void> {
    try {
      while (this.#queue.length > 0) await this.#writeBatch(this.#batch());
    } catch (error) {
      this.#failed(asError(error));
    } finally {
      this.#running = false;
      for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  /** What the next write takes: a record that begins a file stands first in its own. */
  #batch(): readonly Queued[] {
    const batch = this.#queue.slice(0, MAX_BATCH);
    const next = batch.findIndex(({ begins }, index) => index > 0 && begins);
    return next === -1 ? batch : batch.slice(0, next);
  }

  async #writeBatch(batch: readonly Queued[]): Promise<void> {
    const lines: string[] = [];
    const written: Queued[] = [];
    let head = this.#head;
    for (const queued of batch) {
      const record = this.#encode(queued, head);
      if (record === undefined) continue;
      lines.push(record.line);
      written.push(queued);
      head = record.head;
    }
    if (lines.length > 0) await this.#write(lines, batch[0]?.begins === true);
    this.#head = head;
    this.#queue.splice(0, batch.length);
    for (const { settle } of written) settle?.resolve();
    if (lines.length > 0) this.#parts.onWritten(lines);
  }

  /** A value that has no place in a record is a defect, of this one alone. */
  #encode(queued: Queued, head: Head): ReturnType<typeof chained> | undefined {
    try {
      return chained(queued.body, head, { time: queued.time, bootId: this.#parts.bootId });
    } catch (error) {
      queued.settle?.reject(error);
      this.#parts.log.error('ledger.defect', 'a record could not be written out', { error: asError(error) });
      return undefined;
    }
  }

  async #write(lines: readonly string[], begins: boolean): Promise<void> {
    const bytes = Buffer.from(`${lines.join('\n')}\n`);
    const began = this.#parts.clock.monotonic();
    const { segment } = this.#writer;
    if (begins || segment === undefined) {
      await this.#writer.begin(this.#head.seq + 1, bytes, Buffer.byteLength(lines[0] ?? '') + 1);
    } else {
      await this.#writer.append(segment, bytes);
    }
    const ms = this.#parts.clock.monotonic() - began;
    this.#lastFlush = { ms, records: lines.length };
    this.#parts.timed?.(this.#parts.stream, ms);
  }

  #failed(cause: Error): void {
    const error = cause instanceof MayflyError ? cause : unwritable(this.#parts.directory, cause);
    this.#failure = error;
    const kept: Queued[] = [];
    for (const queued of this.#queue.splice(0)) {
      if (queued.keeping === 'kept') kept.push(queued);
      else queued.settle?.reject(error);
    }
    this.#queue.push(...kept);
    this.#parts.onFailed(error);
  }
}

/** Both are answered with UNAVAILABLE: a client does well to try again. Nothing may be signed that cannot be recorded. */
function unwritable(directory: string, cause: Error): MayflyError {
  return isLackOfRoom(cause)
    ? new MayflyError('DISK_FULL', `the ledger in ${directory} has no room; free some space`, { cause })
    : new MayflyError('AUTHORITY_UNAVAILABLE', `the ledger in ${directory} cannot be written: ${cause.message}`, {
        cause,
      });
}

function timeText(time: number): string {
  return new Date(time).toISOString();
}
