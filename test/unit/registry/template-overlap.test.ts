import { describe, expect, it } from 'vitest';
import { entryWarnings } from '../../../agent/registry/entry-warnings.ts';
import { isGivenAwayBy } from '../../../agent/registry/template-overlap.ts';
import { templateOf, VOCABULARY } from './entries.ts';

function template(id: string, path: string, ...selectors: readonly string[]) {
  const lines = selectors.length === 0 ? [] : [`selectors: ${JSON.stringify(selectors)}`];
  return templateOf(`id: ${id}`, `spiffe_id: "spiffe://example.org${path}"`, ...lines);
}

const CLUSTER = template('cluster', '/ns/{{k8s.ns}}/sa/{{k8s.sa}}');

describe('what a template gives', () => {
  it.each<[string, ReturnType<typeof template>, boolean]>([
    ['is its own where the other is longer', template('a', '/ns/{{k8s.ns}}/sa/{{k8s.sa}}/x'), false],
    ['is its own where a name differs', template('a', '/n/{{k8s.ns}}/sa/{{k8s.sa}}'), false],
    ['is its own where the text around differs', template('a', '/ns/{{k8s.ns}}/sa-{{k8s.sa}}/x'), false],
    ['is the same for the same reason', template('a', '/ns/{{k8s.ns}}/sa/{{k8s.sa}}'), false],
    ['is the same for the same reason, fixed in one', template('a', '/ns/prod/sa/{{k8s.sa}}', 'k8s:ns:prod'), false],
    ['comes of another value', template('a', '/ns/{{k8s.ns}}/sa/{{k8s.pod-label:sa}}'), true],
    ['comes of another key', template('a', '/ns/{{k8s.ns}}/sa/{{k8s.pod-label:app}}'), true],
    ['is fixed in one that does not ask for it', template('a', '/ns/prod/sa/{{k8s.sa}}', 'k8s:ns:test'), true],
    ['is the same with text around', template('a', '/ns/{{k8s.ns}}/sa/a-{{k8s.sa}}'), true],
    [
      'is the same of more than one asks for',
      template('a', '/ns/prod/sa/{{k8s.sa}}', 'k8s:ns:prod', 'unix:uid:0'),
      true,
    ],
    ['is the same of more than one has values for', template('a', '/ns/prod/sa/{{unix.user}}'), true],
  ])('%s', (_, other, given) => {
    expect(isGivenAwayBy(CLUSTER, other) || isGivenAwayBy(other, CLUSTER)).toBe(given);
  });

  it('may be what a stricter one asks more for, and not the other way round', () => {
    const strict = template('a', '/ns/{{k8s.ns}}/sa/{{k8s.sa}}', 'unix:uid:0');
    expect([isGivenAwayBy(strict, CLUSTER), isGivenAwayBy(CLUSTER, strict)]).toEqual([true, false]);
  });

  it('is told once of a pair', () => {
    const vocabulary = { ...VOCABULARY, neverSaid: () => undefined };
    const entries = [template('a', '/u/{{unix.user}}'), template('b', '/u/{{k8s.sa}}'), template('c', '/v/{{k8s.sa}}')];
    expect(entryWarnings(entries, { vocabulary, federated: new Set(), now: 0 })).toEqual([
      't.yaml:2: entry a: it and the template b may give one and the same identity to different processes: spiffe://example.org/u/{{unix.user}} and spiffe://example.org/u/{{k8s.sa}}',
    ]);
  });
});
