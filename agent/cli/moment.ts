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
  return wholeUnits(ms) > 0 ? `${formatAge(ms)} left` : `expired ${formatAge(-ms)} ago`;
}

/** A time with how far it is: `2026-01-01 10:00:00Z (59m50s left)`. */
export function formatUntil(time: Date, now: number): string {
  return `${formatTime(time)} (${formatLeft(time, now)})`;
}

/** Milliseconds in their two largest units or so: `59m50s`, `3d4h`, `0s`. */
export function formatAge(ms: number): string {
  return formatDuration(wholeUnits(ms));
}

function wholeUnits(ms: number): number {
  const unit = Math.abs(ms) >= DAY_MS ? HOUR_MS : Math.abs(ms) >= HOUR_MS ? MINUTE_MS : SECOND_MS;
  return Math.trunc(ms / unit) * unit;
}
