import type { Clock } from './clock.ts';

/** Resolves after `ms` milliseconds, or at once when `signal` aborts. */
export function sleep(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  const settle = () => {
    alarm.cancel();
    signal.removeEventListener('abort', settle);
    resolve();
  };
  const alarm = clock.after(ms, settle);
  signal.addEventListener('abort', settle);
  return promise;
}
