import type { Clock } from '../kernel/clock.ts';

/**
 * Runs `run` with a signal that aborts after `ms`, or with `outer`.
 *
 * @throws what `run` throws
 */
export async function within<T>(
  ms: number,
  clock: Clock,
  outer: AbortSignal,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController();
  const alarm = clock.after(ms, () => late.abort(new Error(`no answer within ${ms} ms`)));
  try {
    return await run(AbortSignal.any([late.signal, outer]));
  } finally {
    alarm.cancel();
  }
}
