import { formatDuration } from '../kernel/duration.ts';

/** A time as people read it, in UTC to the second: `2026-01-01 10:00:00Z`. */
export function formatTime(time: Date): string {
  return `${time.toISOString().slice(0, 19).replace('T', ' ')}Z`;
}

/** How far a time is from `now` (milliseconds since the epoch), in whole seconds: `59m50s left`, `expired 3m2s ago`. */
export function formatLeft(time: Date, now: number): string {
  const seconds = Math.trunc((time.getTime() - now) / 1000);
  return seconds > 0 ? `${formatDuration(seconds * 1000)} left` : `expired ${formatDuration(-seconds * 1000)} ago`;
}

/** A time with how far it is: `2026-01-01 10:00:00Z (59m50s left)`. */
export function formatUntil(time: Date, now: number): string {
  return `${formatTime(time)} (${formatLeft(time, now)})`;
}
