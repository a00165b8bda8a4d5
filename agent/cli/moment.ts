import { formatDuration } from '../kernel/duration.ts';

const SECOND_MS = 1000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

/** A time as people read it, in UTC to the second: `2026-01-01 10:00:00Z`. */
export function formatTime(time: Date): string {
  return `${time.toISOString().slice(0, 19).replace('T', ' ')}Z`;
}

/** How far a time is from `now` (milliseconds since the epoch), in its two largest units or so: `59m50s left`, `expired 3m2s ago`. */
export function formatLeft(time: Date, now: number): string {
  const ms = time.getTime() - now;
  const unit = Math.abs(ms) >= DAY_MS ? HOUR_MS : Math.abs(ms) >= HOUR_MS ? MINUTE_MS : SECOND_MS;
  const whole = Math.trunc(ms / unit) * unit;
  return whole > 0 ? `${formatDuration(whole)} left` : `expired ${formatDuration(-whole)} ago`;
}

/** A time with how far it is: `2026-01-01 10:00:00Z (59m50s left)`. */
export function formatUntil(time: Date, now: number): string {
  return `${formatTime(time)} (${formatLeft(time, now)})`;
}
