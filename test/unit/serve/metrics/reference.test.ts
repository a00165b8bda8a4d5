import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { DOCUMENT, METRICS, withReference } from '../../../check/metrics-reference.ts';
import { tableRows } from '../../docs/documents.ts';

const text = readFileSync(DOCUMENT, 'utf8');
const families = METRICS.flatMap((group) => Object.entries(group.families));
const names = families.map(([name]) => name);

describe('docs/metrics.md', () => {
  test('has the reference that the metrics make: run node test/check/metrics-reference.ts', () => {
    expect(text).toBe(withReference(text));
  });

  test('says of each label what its values are, and of none that there is not', () => {
    const rows = tableRows({ path: 'docs/metrics.md', text });
    const start = rows.findIndex(([first]) => first === 'Label');
    const end = rows.findIndex(([first], index) => index > start && first === 'Metric');
    const told = rows.slice(start + 1, end).flatMap(([first = '']) => first.split(', '));
    const labels = new Set(families.flatMap(([, family]) => family.labels.map((label) => `\`${label}\``)));
    expect(told.toSorted()).toEqual([...labels].toSorted());
  });

  test('names no metric that does not exist', () => {
    const named = [...text.matchAll(/`((?:mayfly|process)_[a-z0-9_]+)`/g)].map(([, name]) => name!);
    expect(named.filter((name) => !names.includes(name))).toEqual([]);
  });
});

describe('metrics', () => {
  test('are many, and none is there twice', () => {
    expect(names.length).toBeGreaterThan(50);
    expect(new Set(names).size).toBe(names.length);
  });

  test.each(families)('%s is named and told as Prometheus wants it', (name, { buckets, help, labels, type }) => {
    expect(name).toMatch(/^(mayfly|process)(_[a-z0-9]+)+$/);
    expect(name.endsWith('_total')).toBe(type === 'counter');
    // Base units alone: no milliseconds, no percent.
    expect(name).not.toMatch(/_(ms|milliseconds|minutes|hours|kilobytes|percent)(_|$)/);
    expect(name).not.toMatch(/_(count|sum|bucket)$/);
    expect(help).toMatch(/^[A-Z].*\.$/);
    for (const label of labels) expect(label).toMatch(/^[a-z]+(_[a-z]+)*$/);
    for (const forbidden of ['pid', 'uid', 'spiffe_id', 'le', 'quantile']) expect(labels).not.toContain(forbidden);
    expect(buckets.length > 0).toBe(type === 'histogram');
    expect(buckets.toSorted((a, b) => a - b)).toEqual(buckets);
  });
});
