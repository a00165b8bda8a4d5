import { parseSelector } from '../../agent/kernel/selector.ts';
import { parseSpiffeId } from '../../agent/kernel/spiffe-id.ts';
import type { Entry } from '../../agent/registry/entry.ts';

/** An entry for uid 1000 that says nothing but what a test is about. */
export function plainEntry(id: string, more: Partial<Entry> = {}): Entry {
  return {
    id,
    spiffeId: parseSpiffeId(`spiffe://example.org/${id}`),
    selectors: [parseSelector('unix:uid:1000')],
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
