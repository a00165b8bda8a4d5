import { unixVocabulary } from '../../../agent/attest/unix/unix-vocabulary.ts';
import type { SelectorName, Vocabulary } from '../../../agent/attest/vocabulary.ts';
import { InvalidConfig } from '../../../agent/config/problem.ts';
import { parseDocument } from '../../../agent/config/yaml-document.ts';
import { parseSelector, type Selector } from '../../../agent/kernel/selector.ts';
import { parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import type { Entry } from '../../../agent/registry/entry.ts';
import { entriesOf, entryFileSchema } from '../../../agent/registry/entry-file.ts';
import { type EntryTemplate, isTemplate } from '../../../agent/registry/written-entry.ts';
import { plainEntry } from '../../support/entry.ts';

/** Words like those of real attestors: some may be said of one process more than once, some with a key, some cannot be in an identity. */
export const VOCABULARY: Pick<Vocabulary, 'names' | 'types'> = {
  types: ['unix', 'docker', 'k8s'],
  names: new Map([
    ['unix', unixVocabulary({ path: true, sha256: true }).names.get('unix') ?? new Map()],
    [
      'docker',
      new Map<string, SelectorName>([
        ['label', { values: 'one', example: 'web', key: ':' }],
        ['env', { values: 'one', example: 'web', key: '=' }],
        ['image_id', { values: 'one', example: 'sha256:0f' }],
      ]),
    ],
    [
      'k8s',
      new Map<string, SelectorName>([
        ['ns', { values: 'one', example: 'payments' }],
        ['sa', { values: 'one', example: 'api' }],
        ['pod-name', { values: 'one', example: 'api-7d4b9' }],
        ['pod-label', { values: 'one', example: 'web', key: ':' }],
        ['pod-image', { values: 'several', example: 'web' }],
      ]),
    ],
  ]),
};

export function selectorsOf(...texts: readonly string[]): Set<Selector> {
  return new Set(texts.map(parseSelector));
}

/** An entry that says nothing but what a test is about. */
export function entryOf(id: string, selectors: readonly string[], more: Partial<Entry> = {}): Entry {
  const [first, ...rest] = selectors.map(parseSelector);
  if (first === undefined) throw new Error('an entry has a selector at least');
  return plainEntry(id, { selectors: [first, ...rest], ...more });
}

/** The one entry of a file with these lines, which is a template. */
export function templateOf(...lines: readonly string[]): EntryTemplate {
  const text = `entries:\n  - ${lines.join('\n    ')}\n`;
  const rules = { trustDomain: parseTrustDomain('example.org'), vocabulary: VOCABULARY, requireOwner: false };
  const { entries, problems } = entriesOf(parseDocument('t.yaml', text, entryFileSchema), rules);
  const [template] = entries;
  if (problems.length > 0) throw new InvalidConfig(problems);
  if (template === undefined || !isTemplate(template)) throw new Error('it is no template');
  return template;
}
