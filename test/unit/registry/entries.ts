import { parseSelector, type Selector } from '../../../agent/kernel/selector.ts';
import { parseSpiffeId } from '../../../agent/kernel/spiffe-id.ts';
import type { Entry } from '../../../agent/registry/entry.ts';

export function selectorsOf(...texts: readonly string[]): Set<Selector> {
  return new Set(texts.map(parseSelector));
}

/** An entry that says nothing but what a test is about. */
export function entryOf(id: string, selectors: readonly string[], more: Partial<Entry> = {}): Entry {
  const [first, ...rest] = selectors.map(parseSelector);
  if (first === undefined) throw new Error('an entry has a selector at least');
  return {
    id,
    spiffeId: parseSpiffeId(`spiffe://example.org/${id}`),
    selectors: [first, ...rest],
    owner: undefined,
    x509SvidTtl: undefined,
    jwtSvidTtl: undefined,
    witSvidTtl: undefined,
    dnsNames: [],
    hint: '',
    federatesWith: [],
    audiences: undefined,
    expiresAt: undefined,
    source: `${id}.yaml:1`,
    ...more,
  };
}
