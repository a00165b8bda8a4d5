import { open } from 'node:fs/promises';
import type { Clock } from '../../kernel/clock.ts';
import { messageOf } from '../../kernel/errors.ts';
import type { FileStatus } from '../../peer/system/file-status.ts';
import { Turns } from '../turns.ts';
import { digestFile, type FileDigest, identityOf } from './file-digest.ts';

interface Job {
  readonly opened: Promise<void>;
  readonly digest: Promise<FileDigest>;
  readonly stop: AbortController;
  reading: boolean;
  waiting: number;
}

// So many files are read at once, and one a tenant: a hundred large programs of one do not make another's wait behind them.
const UNDER_WAY = 2;
// File times move in steps of some milliseconds: a file that changed just now can change again and show the same times.
const FRESH_MS = 2000;

/** SHA-256 of files by descriptor. A digest is kept for as long as the file's device, inode, size and times stay what they were. */
export class FileDigests {
  readonly #clock: Clock;
  readonly #size: number;
  readonly #known = new Map<string, FileDigest>();
  readonly #jobs = new Map<string, Job>();
  readonly #turns = new Turns(UNDER_WAY);
  readonly #closing = new AbortController();

  /** @param size how many digests are remembered */
  constructor(clock: Clock, size = 1024) {
    this.#clock = clock;
    this.#size = size;
  }

  /** What is known of a file without reading it. */
  known(status: FileStatus): FileDigest | undefined {
    const key = identityOf(status);
    const digest = this.#known.get(key);
    if (digest !== undefined) this.#remember(key, digest);
    return digest;
  }

  /**
   * The digest of the file that `descriptor` names (`O_PATH` will do), which must stay open until this settles. Calls for one file
   * share one reading. One that has begun goes on when its callers give up, so that the next finds it done.
   *
   * @param status of that descriptor, taken before
   * @param tenant whose program it is, for fairness alone
   * @throws the reason of `signal`, and an Error after {@link close}
   */
  async of(descriptor: number, status: FileStatus, tenant: string, signal: AbortSignal): Promise<FileDigest> {
    const known = this.known(status);
    if (known !== undefined) return known;
    signal.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    const key = identityOf(status);
    const job = this.#jobs.get(key) ?? this.#begin(key, descriptor, status, tenant);
    job.waiting += 1;
    try {
      // Not to be given up: the number of a closed descriptor may come to mean another file.
      await job.opened;
      return await unlessAborted(job.digest, signal);
    } finally {
      job.waiting -= 1;
      if (job.waiting === 0 && !job.reading) this.#abandon(key, job);
    }
  }

  /** Ends the readings under way, whose callers get an Error, and resolves when their files are closed. */
  async close(): Promise<void> {
    const error = new Error('the agent shuts down');
    this.#closing.abort(error);
    for (const job of this.#jobs.values()) job.stop.abort(error);
    await Promise.allSettled([...this.#jobs.values()].map((job) => job.digest));
  }

  #begin(key: string, descriptor: number, status: FileStatus, tenant: string): Job {
    const opening = open(`/proc/self/fd/${descriptor}`);
    const stop = new AbortController();
    const read = async (): Promise<FileDigest> => {
      try {
        await using file = await opening;
        const leave = await this.#turns.take(tenant, stop.signal);
        job.reading = true;
        try {
          const digest = await digestFile(file, status, stop.signal);
          if (digest.kind === 'digest' && !this.#isFresh(status)) this.#remember(key, digest);
          return digest;
        } finally {
          leave();
        }
      } catch (error) {
        stop.signal.throwIfAborted();
        return { kind: 'unreadable', message: messageOf(error) };
      } finally {
        if (this.#jobs.get(key) === job) this.#jobs.delete(key);
      }
    };
    const settled = opening.then(
      () => undefined,
      () => undefined,
    );
    const job: Job = { opened: settled, digest: Promise.resolve().then(read), stop, reading: false, waiting: 0 };
    // It may fail after the last caller has gone.
    job.digest.catch(() => undefined);
    this.#jobs.set(key, job);
    return job;
  }

  /** Out of the table first: who comes next must not join what is being stopped. */
  #abandon(key: string, job: Job): void {
    if (this.#jobs.get(key) === job) this.#jobs.delete(key);
    job.stop.abort(new Error('nobody waits for this digest any more'));
  }

  #isFresh(status: FileStatus): boolean {
    return Math.abs(this.#clock.now() - Number(status.ctimeNs / 1_000_000n)) < FRESH_MS;
  }

  #remember(key: string, digest: FileDigest): void {
    this.#known.delete(key);
    this.#known.set(key, digest);
    if (this.#known.size <= this.#size) return;
    const [oldest] = this.#known.keys();
    if (oldest !== undefined) this.#known.delete(oldest);
  }
}

/** @throws the reason of `signal` */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const cut = Promise.withResolvers<never>();
  const onAbort = (): void => cut.reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort);
  try {
    return await Promise.race([promise, cut.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
