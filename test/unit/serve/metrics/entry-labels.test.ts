import { expect, test } from 'vitest';
import { EntryLabels } from '../../../../agent/serve/metrics/entry-labels.ts';

test('entries are labels up to the most that there may be, and stay what they were', () => {
  const labels = new EntryLabels(2);
  expect(labels.of('a')).toBe('a');
  expect(labels.of('b')).toBe('b');
  for (let count = 0; count < 10_000; count += 1) expect(labels.of(`more-${count}`)).toBe('(other)');
  expect(labels.of('a')).toBe('a');
  expect(labels.of('b')).toBe('b');
});

test('what is about no entry is none of them', () => {
  const labels = new EntryLabels(0);
  expect(labels.of(undefined)).toBe('(none)');
  expect(labels.of('a')).toBe('(other)');
});
