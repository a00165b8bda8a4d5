import { createHash } from 'node:crypto';
import type { Clock } from '../../kernel/clock.ts';
import { messageOf } from '../../kernel/errors.ts';
import { sleep } from '../../kernel/sleep.ts';
import type { AnswerSink } from '../http-answer.ts';
import type { PodSource } from './kubelet.ts';
import { type Pod, parsePod } from './pod.ts';
import { PodItems } from './pod-items.ts';
import { Pods } from './pods.ts';

// A container's id is listed up to a second after its process can call: to ask more often than this would make nobody faster.
const LEAST_BETWEEN_MS = 200;
// Of the time between two answers at most this part goes into reading them.
const MOST_SHARE = 0.2;

/** Who is told how the list fares. */
export interface ListEvents {
  /** Gets every new list, before those who wait for it. */
  answered(pods: Pods): void;
  /** Gets why a list could not be had. */
  failed(message: string): void;
  /** Some pods were too large to be read, and are not on the list. */
  passedOver(count: number): void;
}

/**
 * The list of pods, asked for once for all who need it. What was read stays until something newer is: an answer that is none takes
 * nothing back.
 */
export class PodList {
  readonly #source: PodSource;
  readonly #clock: Clock;
  readonly #on: ListEvents;
  readonly #closing = new AbortController();
  #latest: Pods | undefined;
  /** Each answer with its own digest, so that a pod which has not changed is not read again. */
  #known: ReadonlyMap<string, Pod> = new Map();
  #kubelet: object | undefined;
  #apiSince: number | undefined;
  #askedAt = Number.NEGATIVE_INFINITY;
  #latestAskedAt = Number.NEGATIVE_INFINITY;
  #failedAt: number | undefined;
  #costMs = 0;
  #next: Promise<Pods> | undefined;

  constructor(source: PodSource, clock: Clock, on: ListEvents) {
    this.#source = source;
    this.#clock = clock;
    this.#on = on;
  }

  /** The newest list that could be read; `undefined` before the first. */
  get latest(): Pods | undefined {
    return this.#latest;
  }

  /** How long ago {@link latest} was asked for, in milliseconds. */
  get age(): number {
    return this.#clock.monotonic() - this.#latestAskedAt;
  }

  /** How long ago the last attempt failed, in milliseconds; `undefined` when it did not. */
  get failedFor(): number | undefined {
    return this.#failedAt === undefined ? undefined : this.#clock.monotonic() - this.#failedAt;
  }

  /** How much of the thread's time the last answer took, in milliseconds. */
  get costMs(): number {
    return this.#costMs;
  }

  /**
   * A list that is newer than {@link latest}: shared by all who ask before it is there, and not more often than every fifth of a second.
   *
   * @throws Error that says why the kubelet has not given one
   */
  next(): Promise<Pods> {
    this.#next ??= this.#askInTurn().finally(() => {
      this.#next = undefined;
    });
    return this.#next;
  }

  /** Whoever waits gets an error. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#next?.catch(() => undefined);
    this.#source.close();
  }

  async #askInTurn(): Promise<Pods> {
    const pause = Math.max(LEAST_BETWEEN_MS, this.#costMs / MOST_SHARE);
    const left = this.#askedAt + pause - this.#clock.monotonic();
    if (left > 0) await sleep(left, this.#clock, this.#closing.signal);
    this.#closing.signal.throwIfAborted();
    this.#askedAt = this.#clock.monotonic();
    try {
      const pods = await this.#ask(this.#askedAt);
      this.#failedAt = undefined;
      return pods;
    } catch (error) {
      this.#failedAt = this.#clock.monotonic();
      if (!this.#closing.signal.aborted) this.#on.failed(messageOf(error));
      throw error;
    }
  }

  async #ask(askedAt: number): Promise<Pods> {
    const reading = new Reading(this.#known, this.#clock);
    const kubelet = await this.#source.read(reading, this.#closing.signal);
    const sameKubelet = kubelet === this.#kubelet;
    const pods = [...reading.pods.values()];
    const hasApi = pods.some(({ fromApi }) => fromApi);
    if (!sameKubelet) this.#apiSince = undefined;
    if (hasApi) this.#apiSince ??= askedAt;
    const latest = new Pods(pods, { sameKubelet, apiSince: this.#apiSince, askedAt }, this.#latest);
    this.#kubelet = kubelet;
    this.#known = reading.pods;
    this.#costMs = reading.spentMs;
    this.#latest = latest;
    this.#latestAskedAt = askedAt;
    if (reading.passedOver > 0) this.#on.passedOver(reading.passedOver);
    this.#on.answered(latest);
    return latest;
  }
}

/** One answer while it arrives. */
class Reading implements AnswerSink {
  /** By digest. */
  readonly pods = new Map<string, Pod>();
  spentMs = 0;
  readonly #known: ReadonlyMap<string, Pod>;
  readonly #clock: Clock;
  readonly #items = new PodItems((item) => this.#add(item));

  constructor(known: ReadonlyMap<string, Pod>, clock: Clock) {
    this.#known = known;
    this.#clock = clock;
  }

  get passedOver(): number {
    return this.#items.passedOver;
  }

  push(chunk: Buffer): void {
    this.#timed(() => this.#items.push(chunk));
  }

  end(): void {
    this.#timed(() => this.#items.end());
  }

  /** Its parts are put together only to be read: mostly it is as it was. */
  #add(item: readonly Buffer[]): void {
    const hash = createHash('sha256');
    for (const part of item) hash.update(part);
    const digest = hash.digest('base64');
    this.pods.set(digest, this.#known.get(digest) ?? parsePod(Buffer.concat(item).toString('utf8')));
  }

  #timed(run: () => void): void {
    const start = this.#clock.monotonic();
    run();
    this.spentMs += this.#clock.monotonic() - start;
  }
}
