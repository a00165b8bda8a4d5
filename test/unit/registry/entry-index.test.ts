import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAudience } from '../../../agent/kernel/audience.ts';
import { parseSelector, type Selector } from '../../../agent/kernel/selector.ts';
import { parseSpiffeId, parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import type { Entry } from '../../../agent/registry/entry.ts';
import { EntryIndex } from '../../../agent/registry/entry-index.ts';
import { entryOf, selectorsOf } from './entries.ts';

const NOW = 1000;

function ids(index: EntryIndex, selectors: ReadonlySet<Selector>, now = NOW): readonly string[] {
  return index.match(selectors, now).entries.map(({ id }) => id);
}

describe('matching', () => {
  it('entitles who has every selector of an entry', () => {
    const index = new EntryIndex([entryOf('one', ['unix:uid:1']), entryOf('both', ['unix:uid:1', 'unix:path:/bin/a'])]);
    expect(ids(index, selectorsOf('unix:uid:1'))).toEqual(['one']);
    expect(ids(index, selectorsOf('unix:path:/bin/a'))).toEqual([]);
    expect(ids(index, selectorsOf('unix:uid:1', 'unix:path:/bin/a', 'unix:gid:5'))).toEqual(['both', 'one']);
    expect(ids(index, new Set())).toEqual([]);
  });

  it('is in the order of code units of the ids, whatever the order of the files', () => {
    const names = ['b', 'B', 'a-1', 'a.1', 'a', '10', '9', '_'];
    const index = new EntryIndex(names.map((id) => entryOf(id, ['unix:uid:1'])));
    expect(ids(index, selectorsOf('unix:uid:1'))).toEqual(['10', '9', 'B', '_', 'a', 'a-1', 'a.1', 'b']);
  });

  it('keeps the first of several with one hint, and all without', () => {
    const index = new EntryIndex([
      entryOf('d', ['unix:uid:1']),
      entryOf('c', ['unix:uid:1'], { hint: 'internal' }),
      entryOf('b', ['unix:uid:2'], { hint: 'internal' }),
      entryOf('a', ['unix:uid:1'], { hint: 'external' }),
      entryOf('e', ['unix:uid:1'], { hint: 'internal' }),
      entryOf('f', ['unix:uid:1']),
    ]);
    expect(ids(index, selectorsOf('unix:uid:1'))).toEqual(['a', 'c', 'd', 'f']);
    expect(ids(index, selectorsOf('unix:uid:1', 'unix:uid:2'))).toEqual(['a', 'b', 'd', 'f']);
  });

  it('leaves out what has expired, whose hint is then free', () => {
    const index = new EntryIndex([
      entryOf('a', ['unix:uid:1'], { hint: 'x', expiresAt: NOW }),
      entryOf('b', ['unix:uid:1'], { hint: 'x', expiresAt: NOW + 1 }),
    ]);
    expect(ids(index, selectorsOf('unix:uid:1'), NOW - 1)).toEqual(['a']);
    expect(ids(index, selectorsOf('unix:uid:1'), NOW)).toEqual(['b']);
    expect(ids(index, selectorsOf('unix:uid:1'), NOW + 1)).toEqual([]);
  });

  it('agrees with looking at every entry', () => {
    const selector = fc.integer({ min: 0, max: 7 }).map((uid) => parseSelector(`unix:uid:${uid}`));
    const entry = fc.record({
      id: fc.string({ minLength: 1, maxLength: 3, unit: fc.constantFrom('a', 'B', '-', '1') }),
      selectors: fc.uniqueArray(selector, { minLength: 1, maxLength: 4 }),
      hint: fc.constantFrom('', '', 'x', 'y'),
      expiresAt: fc.constantFrom(undefined, NOW - 1, NOW, NOW + 1),
    });
    fc.assert(
      fc.property(
        fc.uniqueArray(entry, { selector: ({ id }) => id, maxLength: 40 }),
        fc.uniqueArray(selector, { maxLength: 8 }),
        (written, own) => {
          const entries = written.map(({ id, selectors, hint, expiresAt }) => ({
            ...entryOf('x', selectors, { hint, expiresAt }),
            id,
          }));
          const index = new EntryIndex(entries);
          expect(index.match(new Set(own), NOW).entries).toEqual(naive(entries, new Set(own)));
        },
      ),
      { numRuns: 1000 },
    );
  });
});

function naive(entries: readonly Entry[], own: ReadonlySet<Selector>): readonly Entry[] {
  const matching = entries
    .filter(({ selectors }) => selectors.every((selector) => own.has(selector)))
    .filter(({ expiresAt }) => expiresAt === undefined || NOW < expiresAt)
    .toSorted((a, b) => Buffer.compare(Buffer.from(a.id), Buffer.from(b.id)));
  return matching.filter(({ hint }, at) => hint === '' || matching.findIndex((other) => other.hint === hint) === at);
}

describe('the next expiry', () => {
  it('is the first after a time, and never that time itself', () => {
    const index = new EntryIndex(
      [30, 10, undefined, 20, 20].map((expiresAt, at) => entryOf(`e${at}`, ['unix:uid:1'], { expiresAt })),
    );
    expect([0, 9, 10, 19, 20, 29, 30].map((now) => index.nextExpiry(now))).toEqual([10, 10, 20, 20, 30, 30, undefined]);
    expect(new EntryIndex([]).nextExpiry(0)).toBeUndefined();
  });
});

describe('the digest', () => {
  const base = entryOf('a', ['unix:uid:1', 'unix:gid:1'], { owner: 'x', dnsNames: ['a', 'b'] });
  const digest = new EntryIndex([base]).digest;

  it('is one for one meaning', () => {
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
    const [first, second] = base.selectors;
    const same = { ...base, selectors: [second ?? first, first] as const, source: 'other.yaml:9' };
    expect(new EntryIndex([same]).digest).toBe(digest);
    const two = [base, entryOf('b', ['unix:uid:1'])];
    expect(new EntryIndex(two).digest).toBe(new EntryIndex(two.toReversed()).digest);
  });

  it.each<[keyof Entry, Partial<Entry>]>([
    ['id', { id: 'b' }],
    ['spiffeId', { spiffeId: parseSpiffeId('spiffe://example.org/b') }],
    ['selectors', { selectors: [parseSelector('unix:uid:1')] }],
    ['owner', { owner: undefined }],
    ['x509SvidTtl', { x509SvidTtl: 1 }],
    ['jwtSvidTtl', { jwtSvidTtl: 1 }],
    ['witSvidTtl', { witSvidTtl: 1 }],
    ['dnsNames', { dnsNames: ['b', 'a'] }],
    ['hint', { hint: 'h' }],
    ['federatesWith', { federatesWith: [parseTrustDomain('other.org')] }],
    ['audiences', { audiences: [parseAudience('a')] }],
    ['expiresAt', { expiresAt: 1 }],
  ])('is another for another %s', (_, change) => {
    expect(new EntryIndex([{ ...base, ...change }]).digest).not.toBe(digest);
  });
});

it('matches among 10,000 entries in well under a millisecond', () => {
  const entries = Array.from({ length: 10_000 }, (_, at) =>
    entryOf(`e${at}`, [`unix:uid:${at % 2000}`, `unix:path:/usr/bin/p${at % 500}`, 'unix:group:services']),
  );
  const index = new EntryIndex(entries);
  const groups = Array.from({ length: 14 }, (_, at) => `unix:supplementary_gid:${at}`);
  const own = selectorsOf('unix:uid:7', 'unix:user:x', 'unix:path:/usr/bin/p7', 'unix:group:services', ...groups);
  const rounds = 20_000;
  let found = 0;
  const start = performance.now();
  for (let round = 0; round < rounds; round += 1) found += index.match(own, NOW).entries.length;
  const each = ((performance.now() - start) / rounds) * 1000;
  console.log(`entry index: ${each.toFixed(2)} µs a match of ${own.size} selectors among ${entries.length} entries`);
  expect(found).toBe(rounds * 5);
});
