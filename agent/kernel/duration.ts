import { MayflyError } from './errors.ts';

const DURATION = /^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$/;
const SIZE = /^(\d+)(B|KiB|MiB|GiB)?$/;
const UNITS: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };
const MAX_DURATION_MS = 100 * 365 * 86_400_000;

/**
 * Parses a duration to milliseconds: whole numbers with `d`, `h`, `m`, `s`, `ms`, each unit once and in that order: `1h`, `1h30m`,
 * `500ms`. A bare number has no unit and is refused.
 *
 * @throws MayflyError `INVALID_DURATION`
 */
export function parseDuration(text: string): number {
  const match = DURATION.exec(text);
  if (match === null || text === '') {
    throw new MayflyError('INVALID_DURATION', `${JSON.stringify(text)} is no duration; write 30s, 5m, 1h30m or 7d`);
  }
  const [d, h, m, s, ms] = match.slice(1).map((digits) => Number(digits ?? 0));
  const total = (d ?? 0) * 86_400_000 + (h ?? 0) * 3_600_000 + (m ?? 0) * 60_000 + (s ?? 0) * 1000 + (ms ?? 0);
  if (total > MAX_DURATION_MS) {
    throw new MayflyError('INVALID_DURATION', `${JSON.stringify(text)} is longer than a hundred years`);
  }
  return total;
}

/** Writes milliseconds in the grammar of {@link parseDuration}, largest units first: `1h30m`; `0s` for nothing. */
export function formatDuration(ms: number): string {
  const sizes: readonly [number, string][] = [
    [86_400_000, 'd'],
    [3_600_000, 'h'],
    [60_000, 'm'],
    [1000, 's'],
    [1, 'ms'],
  ];
  let rest = Math.max(0, Math.round(ms));
  let text = '';
  for (const [size, unit] of sizes) {
    const count = Math.floor(rest / size);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * size;
  }
  return text === '' ? '0s' : text;
}

/**
 * Parses a size to bytes: a whole number with `B`, `KiB`, `MiB` or `GiB`; a bare number is bytes.
 *
 * @throws MayflyError `INVALID_SIZE`
 */
export function parseSize(text: string): number {
  const match = SIZE.exec(text);
  const bytes = match === null ? Number.NaN : Number(match[1]) * (UNITS[match[2] ?? 'B'] ?? Number.NaN);
  if (!Number.isSafeInteger(bytes)) {
    throw new MayflyError('INVALID_SIZE', `${JSON.stringify(text)} is no size; write 65536, 64KiB, 4MiB or 1GiB`);
  }
  return bytes;
}
