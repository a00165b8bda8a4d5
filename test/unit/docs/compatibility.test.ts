import { describe, expect, test } from 'vitest';
import { goSpiffe, javaSpiffe, pySpiffe, rustSpiffe } from '../../interop/consumers.ts';
import { withTables } from '../../interop/evidence/document.ts';
import { type Consumer, cell, duration, quirk } from '../../interop/evidence/evidence.ts';
import type { Run, Seen } from '../../interop/evidence/run.ts';
import { readDocument, tableRows } from './documents.ts';

const document = readDocument('docs/compatibility.md');
const client: Consumer<'libraries'> = { group: 'libraries', name: 'a client', version: '1.2.3' };

/** The document with what a run has seen. */
function written(...seen: readonly Seen[]): string {
  return withTables(document.text, { seen, lacking: [] });
}

function rowOf(text: string, name: string): readonly string[] {
  const row = tableRows({ path: document.path, text }).filter(([first]) => first === name);
  expect(row, name).toHaveLength(1);
  return row[0] ?? [];
}

describe('docs/compatibility.md', () => {
  test('has the pinned version of every library: npm run test:interop, then npm run compatibility', () => {
    for (const { name, version } of [goSpiffe, pySpiffe, rustSpiffe, javaSpiffe]) {
      const [, inDocument] = tableRows(document).findLast(([first]) => first === name) ?? [];
      expect(inDocument, name).toBe(version);
    }
  });

  test('has a row for who was seen, and nothing in the columns that no test has shown', () => {
    const text = written(
      cell(client, 'x509'),
      { ...duration(client, 'restart'), tookMs: 800 },
      { ...duration(client, 'restart'), tookMs: 6_000 },
      quirk(client, 'Is slow.'),
      quirk(client, 'Is slow.'),
    );
    const [, version, x509, jwt, ...others] = rowOf(text, 'a client');
    expect([version, x509, jwt]).toEqual(['1.2.3', 'yes', '–']);
    expect(others.filter((other) => other !== '–')).toEqual(['within 10 s']);
    expect(text.match(/Is slow\./g)).toHaveLength(1);
    expect(text).not.toContain('java-spiffe | core');
  });

  test('is not made of a run that has not seen everything', () => {
    const run: Run = { seen: [cell(client, 'x509')], lacking: ['py-spiffe.test.ts'] };
    expect(() => withTables(document.text, run)).toThrow('lacks py-spiffe.test.ts');
  });

  test('keeps a duration where a run was quicker', () => {
    const after = (before: string, tookMs: number) =>
      rowOf(withTables(before, { seen: [{ ...duration(client, 'restart'), tookMs }], lacking: [] }), 'a client');
    const slow = written({ ...duration(client, 'restart'), tookMs: 14_000 });
    expect(after(slow, 100)).toContain('within 20 s');
    expect(after(slow, 20_001)).toContain('within 60 s');
    expect(after(document.text, 100)).toContain('within 10 s');
  });
});
