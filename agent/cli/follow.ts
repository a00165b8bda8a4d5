import type { Clock } from '../kernel/clock.ts';
import type { ErrorCode } from '../kernel/errors.ts';
import { isMayflyError, MayflyError } from '../kernel/errors.ts';
import { sleep } from '../kernel/sleep.ts';

/** What happens to someone who follows a stream across the agent's restarts. */
export type Followed<T> =
  | { readonly kind: 'update'; readonly update: T }
  /** The agent cannot be reached or does not answer: what it said last still holds. */
  | { readonly kind: 'lost'; readonly error: MayflyError; readonly retryIn: number }
  /** The agent says that there is no identity any more: what it said last does not hold. */
  | { readonly kind: 'withdrawn'; readonly error: MayflyError; readonly retryIn: number };

export interface FollowOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly signal: AbortSignal;
  /** Whether to wait for an agent that does not answer the first time either. */
  readonly patient: boolean;
}

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 30_000;

/** To ask again would be answered in the same way. */
const FINAL: ReadonlySet<ErrorCode> = new Set(['INVALID_REQUEST', 'NOT_OFFERED', 'INVALID_SPIFFE_ID']);

/**
 * Follows a stream, and opens it again whenever it ends, after half a second at first and half a minute at last. Returns when the signal
 * aborts.
 *
 * @throws MayflyError what asking again would not change; at the first attempt, unless `patient`, everything
 */
export async function* follow<T>(
  open: (signal: AbortSignal) => AsyncIterable<T>,
  { clock, random, signal, patient }: FollowOptions,
): AsyncGenerator<Followed<T>, void, undefined> {
  let failures = 0;
  let served = patient;
  while (!signal.aborted) {
    let failure: unknown;
    try {
      for await (const update of open(signal)) {
        failures = 0;
        served = true;
        yield { kind: 'update', update };
      }
      failure = new MayflyError('AGENT_UNREACHABLE', 'the agent ended the stream');
    } catch (error) {
      failure = error;
    }
    if (signal.aborted) return;
    if (!isMayflyError(failure) || FINAL.has(failure.code) || !served) throw failure;
    // Spread out, so that all who lost one agent do not come back at one moment.
    const retryIn = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** failures) * (0.75 + random() / 2);
    failures += 1;
    yield { kind: failure.code === 'NO_IDENTITY' ? 'withdrawn' : 'lost', error: failure, retryIn };
    await sleep(retryIn, clock, signal);
  }
}
