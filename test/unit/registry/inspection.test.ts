import { describe, expect, it } from 'vitest';
import { NO_CONTEXT } from '../../../agent/attest/context.ts';
import { Latest } from '../../../agent/kernel/latest.ts';
import { EntryIndex } from '../../../agent/registry/entry-index.ts';
import type { EntrySet } from '../../../agent/registry/entry-set.ts';
import { Inspector } from '../../../agent/registry/inspection.ts';
import { livingInstance } from '../../support/instance.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { entryOf, selectorsOf, templateOf } from './entries.ts';

const ENTRIES = [
  templateOf('id: cluster', 'spiffe_id: "spiffe://example.org/{{k8s.ns}}/{{k8s.pod-label:app}}"', 'hint: h'),
  entryOf('late', ['unix:uid:1'], { expiresAt: 0 }),
  entryOf('one', ['unix:uid:1'], { hint: 'i' }),
  entryOf('other', ['unix:uid:1', 'unix:user:me'], { hint: 'i' }),
];

/** What is said of a process of these selectors, and of an entry. */
function inspect(selectors: readonly string[], entryId = '') {
  const instance = livingInstance();
  const attested = { instance, selectors: selectorsOf(...selectors), context: NO_CONTEXT };
  const entries = new Latest<EntrySet>();
  entries.set(new EntryIndex(ENTRIES));
  const attesting = { current: () => undefined, attest: () => Promise.resolve(attested) };
  return new Inspector({ attesting, entries, clock: new ManualClock() }).inspect(instance, entryId);
}

describe('whoever asks about a process is told', () => {
  it('what it is, what it gets, and which template it gets nothing of', async () => {
    const found = await inspect(['k8s:ns:a', 'k8s:pod-label:app:x', 'unix:uid:1']);
    expect(found.entries.map(({ spiffeId }) => spiffeId)).toEqual([
      'spiffe://example.org/a/x',
      'spiffe://example.org/one',
    ]);
    expect([...found.attested.selectors]).toEqual(['k8s:ns:a', 'k8s:pod-label:app:x', 'unix:uid:1']);
    expect(found.whyNot).toEqual([]);
    expect((await inspect(['k8s:ns:a', 'k8s:pod-label:app:x/y'])).misfits).toMatchObject([{ entryId: 'cluster' }]);
  });

  it.each([
    ['that it gets an entry', 'one', ['unix:uid:1'], []],
    ['which selectors it lacks', 'other', ['unix:gid:1'], ['is not unix:uid:1', 'is not unix:user:me']],
    ['which values it lacks', 'cluster', ['k8s:ns:a'], ['has no value for {{k8s.pod-label:app}}']],
    [
      'which value is refused',
      'cluster',
      ['k8s:ns:a', 'k8s:pod-label:app:x/y'],
      [expect.stringMatching(/^has a value that is refused: \{\{k8s\.pod-label:app\}\} is "x\/y"; in a SPIFFE ID/)],
    ],
    [
      'that the entry has expired',
      'late',
      ['unix:uid:1'],
      ['comes after the entry has expired, at 1970-01-01T00:00:00.000Z'],
    ],
    [
      'which entry comes before it',
      'other',
      ['unix:uid:1', 'unix:user:me'],
      ['gets one instead, which comes first and has the same hint'],
    ],
  ])('%s', async (_, entryId, selectors, whyNot) => {
    expect((await inspect(selectors, entryId)).whyNot).toEqual(whyNot);
  });

  it('that there is no such entry', async () => {
    await expect(inspect(['unix:uid:1'], 'none')).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: 'there is no entry none; mayfly entries shows what there is',
    });
  });
});
