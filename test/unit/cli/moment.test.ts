import { expect, test } from 'vitest';
import { formatLeft, formatTime, formatUntil } from '../../../agent/cli/moment.ts';

const NOW = Date.UTC(2026, 0, 1, 10);

test('times are in UTC, to the second', () => {
  expect(formatTime(new Date(NOW + 999))).toBe('2026-01-01 10:00:00Z');
  expect(formatUntil(new Date(NOW + 90_000), NOW)).toBe('2026-01-01 10:01:30Z (1m30s left)');
});

test.each([
  [3_599_999, '59m59s left'],
  [3_600_000, '1h left'],
  [86_399_999, '23h59m left'],
  [86_400_000 * 2 + 3_599_999, '2d left'],
  [86_400_000 * 2 + 3_600_000, '2d1h left'],
  [1000, '1s left'],
  [999, 'expired 0s ago'],
  [-182_500, 'expired 3m2s ago'],
  [-90_000_000, 'expired 1d1h ago'],
])('%i ms from now is %s', (ms, text) => {
  expect(formatLeft(new Date(NOW + ms), NOW)).toBe(text);
});
