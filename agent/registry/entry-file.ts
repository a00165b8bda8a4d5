import * as v from 'valibot';
import { duration, list, mapping, parsed, trustDomain } from '../config/field.ts';
import type { Problem } from '../config/problem.ts';
import type { YamlDocument } from '../config/yaml-document.ts';
import { parseSelector, type Selector } from '../kernel/selector.ts';
import type { EntryTerms } from './entry.ts';
import { audience, dnsName, entryId, hint, owner, rfc3339, spiffeId } from './entry-field.ts';
import { brokenRules, type EntryRules, placeholdersOf } from './entry-rules.ts';
import { prefixOf } from './placeholder.ts';
import { Renderer } from './renderer.ts';
import type { WrittenEntry } from './written-entry.ts';

const ttl = duration('5s', '365d');

/** One entry as it is written. */
const entrySchema = mapping({
  id: entryId,
  spiffe_id: spiffeId,
  selectors: v.optional(list(parsed(parseSelector, 'a selector such as unix:uid:1000'), 0, 100), []),
  owner: v.optional(owner),
  x509_svid_ttl: v.optional(ttl),
  jwt_svid_ttl: v.optional(ttl),
  wit_svid_ttl: v.optional(ttl),
  dns_names: v.optional(list(dnsName, 0, 100), []),
  hint: v.optional(hint, ''),
  federates_with: v.optional(list(trustDomain, 0, 100), []),
  audiences: v.optional(list(audience, 1, 1000)),
  expires_at: v.optional(rfc3339),
});

/** A file of entries: `entries: [ … ]`. */
export const entryFileSchema = mapping({ entries: v.array(entrySchema) });

export type EntryFile = v.InferOutput<typeof entryFileSchema>;

/** The entries of one file, and everything in it that breaks a rule; with a problem there may be fewer. */
export function entriesOf(
  document: YamlDocument<EntryFile>,
  rules: EntryRules,
): { readonly entries: readonly WrittenEntry[]; readonly problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const entries: WrittenEntry[] = [];
  for (const [index, written] of document.value.entries.entries()) {
    const broken = [...brokenRules(written, rules)];
    for (const [key, message] of broken) problems.push(document.problem(['entries', index, ...key], message));
    const source = `${document.file}:${document.lineOf(['entries', index])}`;
    if (broken.length === 0) entries.push(entryFrom(written, rules, source));
  }
  return { entries, problems };
}

function entryFrom(written: EntryFile['entries'][number], { vocabulary }: EntryRules, source: string): WrittenEntry {
  const selectors = [...new Set(written.selectors)];
  const terms: EntryTerms = {
    id: written.id,
    selectors: Object.freeze(selectors),
    owner: written.owner,
    x509SvidTtl: written.x509_svid_ttl,
    jwtSvidTtl: written.jwt_svid_ttl,
    witSvidTtl: written.wit_svid_ttl,
    hint: written.hint,
    federatesWith: Object.freeze([...new Set(written.federates_with)]),
    audiences: written.audiences && Object.freeze([...new Set(written.audiences)]),
    expiresAt: written.expires_at,
    source,
  };
  const { dns_names, spiffe_id } = written;
  const sources = placeholdersOf(written).map((placeholder) => ({
    placeholder,
    prefix: prefixOf(placeholder, vocabulary),
  }));
  const dnsNames = dns_names.filter((name) => typeof name === 'string');
  if (typeof spiffe_id !== 'string' || sources.length > 0) {
    return Object.freeze({
      ...terms,
      renderer: new Renderer({ terms, spiffeId: spiffe_id, dnsNames: dns_names, sources }),
    });
  }
  const [first, ...rest] = selectors;
  if (first === undefined) throw new Error('an entry without selectors has passed the rules');
  return Object.freeze({
    ...terms,
    selectors: Object.freeze<[Selector, ...Selector[]]>([first, ...rest]),
    spiffeId: spiffe_id,
    dnsNames: Object.freeze([...new Set(dnsNames)]),
  });
}
