import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Alarm } from '../kernel/clock.ts';
import { asError, MayflyError } from '../kernel/errors.ts';
import type { Body } from './chain.ts';
import { anchorOf, checkpointOf } from './checkpoint.ts';
import type { LedgerEvent, Refusal, SvidIssued, UseEvent } from './event.ts';
import { Followers } from './followers.ts';
import type { IssuanceLedger, NotedEvent } from './issuance-ledger.ts';
import type { LedgerFiles } from './ledger-files.ts';
import { DiskFiles } from './ledger-files.ts';
import type { Before, LedgerFigures, LedgerParts, LedgerStatus } from './ledger-parts.ts';
import type { FoundLedger } from './opening.ts';
import { findLedger } from './opening.ts';
import type { Head } from './record.ts';
import { headText } from './record.ts';
import type { ReplayState } from './replay-state.ts';
import { Reserve } from './reserve.ts';
import { bytesOf, retain } from './retention.ts';
import { segmentsOf } from './segments.ts';
import type { LedgerState } from './state.ts';
import { WrittenStream } from './written-stream.ts';

const SWEEP_MS = 10_000;
const RETAIN_MS = 3_600_000;

const CHECKPOINT_END = /"time":"([^"]+)","type":"checkpoint"\}$/;
const CHECKPOINT_END_LENGTH = 80;

/**
 * The record of all decisions, and the state that they come to. It is the one owner of `<data_dir>/ledger`.
 *
 * An event takes effect in the state when it is handed over, and is written in the same order: what is in memory is what the file
 * will say. What could not be written and was waited for is taken back.
 */
export class Ledger implements IssuanceLedger {
  /** What the agent before left; `undefined` at the very first start. */
  readonly before: Before | undefined;
  readonly #parts: LedgerParts;
  readonly #found: FoundLedger;
  readonly #state: ReplayState;
  readonly #reserve: Reserve;
  readonly #issuance: WrittenStream;
  readonly #use: WrittenStream;
  readonly #followers: Followers;
  readonly #alarms = new Map<string, Alarm>();
  readonly #lost = { refusals: 0, reported: 0, uses: 0 };
  readonly #lostEver = { refusals: 0, uses: 0 };
  /** Of the newest event: what nobody recorded has not made anything expire. */
  #lastTime: number;
  #checkpoint: { readonly seq: number; readonly time: number } | undefined;
  #closed: Promise<void> | undefined;

  private constructor(parts: LedgerParts, files: LedgerFiles, found: FoundLedger) {
    const { bootId, clock, directory, log, reserve, segmentSize, timed } = parts;
    const { checkpoint, last, state, stopped } = found.replayed;
    this.#parts = parts;
    this.#found = found;
    this.#state = state;
    this.#checkpoint = checkpoint;
    this.#lastTime = last === undefined ? clock.now() : Date.parse(last.time);
    this.before = last === undefined ? undefined : { lastSeq: last.seq, lastTime: last.time, stopped };
    this.#followers = new Followers(log);
    this.#reserve = new Reserve(directory, reserve, files);
    const common = { directory, bootId, files, clock, log, segmentSize, timed, onBegun: () => this.#retain() };
    this.#issuance = new WrittenStream({
      ...common,
      stream: 'issuance',
      start: found.issuance,
      reserve: this.#reserve,
      first: (time) => this.#checkpointAt(time),
      proof: (since) => this.#recovered(since),
      onWritten: (lines) => this.#written(lines),
      onOver: () => (this.#lost.refusals -= this.#lost.reported),
    });
    this.#use = new WrittenStream({
      ...common,
      stream: 'use',
      start: found.use,
      reserve: undefined,
      first: () => anchorOf(found.key),
      proof: () => anchorOf(found.key),
      onWritten: () => {},
      onOver: () => {},
    });
  }

  /**
   * Reads what is there and goes on with it. A full disk does not keep an agent from starting, as long as there is a ledger: it then
   * can end and revoke, and not issue.
   *
   * @throws MayflyError `DATA_DIR_DAMAGED`, `DATA_DIR_UNSAFE`, `PERMISSION_MISSING`; `DISK_FULL` at the very first start
   */
  static async open(parts: LedgerParts): Promise<Ledger> {
    const files = parts.files ?? new DiskFiles(parts.sync);
    const ledger = new Ledger(parts, files, await findLedger(parts.directory, files));
    try {
      await ledger.#start();
      return ledger;
    } catch (error) {
      await ledger.#abandon();
      throw error;
    }
  }

  get state(): LedgerState {
    return this.#state;
  }

  /** The newest durable record. */
  get head(): Head {
    return this.#issuance.journal.head;
  }

  get useHead(): Head {
    return this.#use.journal.head;
  }

  /** Whether what is issued can be recorded. */
  get writable(): boolean {
    return this.#issuance.journal.failure === undefined;
  }

  /** Why not. */
  get error(): string | undefined {
    return this.#issuance.journal.failure?.message;
  }

  async append(event: SvidIssued): Promise<void> {
    const { failure } = this.#issuance.journal;
    if (failure !== undefined) throw failure;
    const time = this.#apply(event);
    try {
      await this.#issuance.journal.append(event, time);
    } catch (error) {
      this.#state.forgetIssued(event);
      throw error;
    }
  }

  note(event: NotedEvent): void {
    this.#issuance.journal.note(event, this.#apply(event));
  }

  refuse(event: Refusal): void {
    if (this.#issuance.journal.offer(event, this.#apply(event))) return;
    this.#lost.refusals += 1;
    this.#lostEver.refusals += 1;
  }

  use(event: UseEvent): void {
    if (this.#use.journal.offer(event, this.#parts.clock.now())) return;
    this.#lost.uses += 1;
    this.#lostEver.uses += 1;
  }

  /**
   * Calls `listener` with each record as soon as it is durable, as it stands in the file. Checkpoints are left out: they tell of no
   * decision, and may be of any size.
   *
   * @returns how to take it back
   */
  subscribe(listener: (record: string) => void): () => void {
    return this.#followers.add(listener);
  }

  /** The newest of what {@link subscribe} tells, oldest first. */
  recent(): readonly string[] {
    return this.#followers.recent;
  }

  /** Writes the state down, signed, unless nothing has happened since it was last. Resolves when nothing waits to be written. */
  async checkpoint(): Promise<void> {
    const { head, pending } = this.#issuance.journal;
    if (head.seq === this.#checkpoint?.seq && pending === 0) return;
    this.#mark();
    await this.#issuance.journal.flush();
  }

  /** Resolves when nothing waits to be written, or nothing can be. */
  async settled(): Promise<void> {
    await Promise.all([this.#issuance.journal.flush(), this.#use.journal.flush()]);
  }

  status(): LedgerStatus {
    const { directory, sync } = this.#parts;
    const { lastFlush, pending } = this.#issuance.journal;
    const segments = [...segmentsOf(directory, 'issuance'), ...segmentsOf(directory, 'use')];
    return {
      directory,
      head: headText(this.head),
      useHead: headText(this.useHead),
      sync,
      writable: this.writable,
      error: this.error ?? '',
      pending,
      lastFlushMs: lastFlush.ms,
      lastBatch: lastFlush.records,
      segments: segments.length,
      bytes: BigInt(bytesOf(segments)),
      ...(this.#checkpoint !== undefined && { checkpointAt: timestampFromMs(this.#checkpoint.time) }),
      key: this.#found.key.thumbprint,
    };
  }

  figures(): LedgerFigures {
    const waiting = [this.#issuance, this.#use].flatMap(({ journal }) => journal.waitingSince ?? []);
    return {
      waitingSince: waiting.length === 0 ? undefined : Math.min(...waiting),
      outageSince: this.#issuance.outageSince,
      lost: { ...this.#lostEver },
    };
  }

  /** Records that the agent stopped, with a last checkpoint, writes what waits and closes the files. May be called again. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #start(): Promise<void> {
    const failure = await this.#issuance.beginFirst();
    if (failure !== undefined) throw failure;
    await this.#use.beginFirst();
    if (!(await this.#reserve.restored())) this.#issuance.journal.suspend(this.#noReserve());
    for (const { removedBytes, segment } of this.#found.repairs) {
      this.#parts.log.warn('ledger.repaired', `cut an unfinished record off ${segment}`, { bytes: removedBytes });
      this.note({ type: 'ledger.repaired', segment, removed_bytes: removedBytes });
    }
    this.#every(SWEEP_MS, 'sweep', () => this.#sweep());
    this.#every(RETAIN_MS, 'retain', () => this.#retain());
    this.#every(this.#parts.checkpointInterval, 'checkpoint', () => void this.checkpoint());
  }

  async #close(): Promise<void> {
    for (const alarm of this.#alarms.values()) alarm.cancel();
    this.note({ type: 'agent.stopped' });
    // Behind it, so that the next start has nothing to replay.
    this.#mark();
    await this.#abandon();
    this.#followers.close();
  }

  async #abandon(): Promise<void> {
    const reason = new MayflyError('SHUTTING_DOWN', 'the agent is stopping');
    await Promise.all([this.#issuance.close(reason), this.#use.close(reason)]);
  }

  /** @returns the time of the event */
  #apply(event: LedgerEvent): number {
    const time = this.#parts.clock.now();
    this.#state.apply(event, { time, bootId: this.#parts.bootId });
    this.#lastTime = time;
    return time;
  }

  #mark(): void {
    const now = this.#parts.clock.now();
    this.#issuance.journal.mark(this.#checkpointAt(now), now);
  }

  #checkpointAt(time: number): Body {
    this.#state.pruneTokens(this.#lastTime);
    return checkpointOf(this.#state, time, this.#found.key);
  }

  #recovered(since: number): LedgerEvent {
    this.#lost.reported = this.#lost.refusals;
    return { type: 'ledger.recovered', since: new Date(since).toISOString(), refusals_lost: this.#lost.reported };
  }

  #written(lines: readonly string[]): void {
    const before = this.head.seq - lines.length;
    for (const [index, line] of lines.entries()) {
      const time = CHECKPOINT_END.exec(line.slice(-CHECKPOINT_END_LENGTH))?.[1];
      if (time === undefined) this.#followers.tell(line);
      else this.#checkpointed(before + index + 1, time);
    }
  }

  #checkpointed(seq: number, time: string): void {
    this.#checkpoint = { seq, time: Date.parse(time) };
    // What an auditor keeps elsewhere, for a log that goes elsewhere.
    this.#parts.log.info('ledger.checkpoint', `the ledger's state was written down and signed as record ${seq}`, {
      head: headText(this.head),
      key: this.#found.key.thumbprint,
    });
  }

  /** Expiry, and what was left out, a few times a minute. */
  #sweep(): void {
    const { log } = this.#parts;
    this.#state.prune(this.#lastTime);
    const { refusals, uses } = this.#lost;
    if (uses > 0) log.warn('ledger.uses_lost', `${uses} uses were not recorded`, { count: uses });
    this.#lost.uses = 0;
    if (refusals === 0 || !this.writable) return;
    log.warn('ledger.refusals_lost', `${refusals} refusals were not recorded: too much waited to be written`);
    this.#lost.refusals = 0;
  }

  #retain(): void {
    const { clock, directory, log } = this.#parts;
    try {
      const removed = retain(directory, this.#parts, clock.now());
      if (removed.length > 0) log.info('ledger.retained', `removed ${removed.length} old files`, { files: removed });
    } catch (error) {
      log.warn('ledger.retention_failed', 'old files of the ledger could not be removed', { error: asError(error) });
    }
  }

  #noReserve(): MayflyError {
    const { directory, reserve } = this.#parts;
    return new MayflyError('DISK_FULL', `${directory} has no room for a reserve of ${reserve} bytes; free some space`);
  }

  #every(ms: number, name: string, run: () => void): void {
    const alarm = this.#parts.clock.after(ms, () => {
      this.#every(ms, name, run);
      run();
    });
    this.#alarms.set(name, alarm);
  }
}
