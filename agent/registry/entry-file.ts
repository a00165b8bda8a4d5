import * as v from 'valibot';
import { duration, list, mapping, parsed, trustDomain } from '../config/field.ts';
import type { Problem } from '../config/problem.ts';
import { suggestion } from '../config/spelling.ts';
import type { YamlDocument } from '../config/yaml-document.ts';
import { parseAudience } from '../kernel/audience.ts';
import { parseSelector, type Selector, selectorType } from '../kernel/selector.ts';
import { parseSpiffeId, pathOf, type TrustDomain, trustDomainOf } from '../kernel/spiffe-id.ts';
import type { Entry } from './entry.ts';
import { dnsName, entryId, hint, owner, rfc3339 } from './entry-field.ts';

const ttl = duration('5s', '365d');

/** One entry as it is written. */
const entrySchema = mapping({
  id: entryId,
  spiffe_id: parsed(parseSpiffeId, 'a SPIFFE ID such as spiffe://example.org/payments'),
  selectors: list(parsed(parseSelector, 'a selector such as unix:uid:1000'), 1, 100),
  owner: v.optional(owner),
  x509_svid_ttl: v.optional(ttl),
  jwt_svid_ttl: v.optional(ttl),
  wit_svid_ttl: v.optional(ttl),
  dns_names: v.optional(list(dnsName, 0, 100), []),
  hint: v.optional(hint, ''),
  federates_with: v.optional(list(trustDomain, 0, 100), []),
  audiences: v.optional(list(parsed(parseAudience, 'an audience'), 1, 1000)),
  expires_at: v.optional(rfc3339),
});

/** A file of entries: `entries: [ … ]`. */
export const entryFileSchema = mapping({ entries: v.array(entrySchema) });

export type EntryFile = v.InferOutput<typeof entryFileSchema>;

/** What entries must agree with beyond their own form. */
export interface EntryRules {
  /** The agent's own: it can issue in no other. */
  readonly trustDomain: TrustDomain;
  /** The types of selectors that there are. */
  readonly selectorTypes: readonly string[];
  readonly requireOwner: boolean;
}

/** The entries of one file, and everything in it that breaks a rule. */
export function entriesOf(
  document: YamlDocument<EntryFile>,
  rules: EntryRules,
): { readonly entries: readonly Entry[]; readonly problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const entries = document.value.entries.map((written, index): Entry => {
    for (const [key, message] of broken(written, rules))
      problems.push(document.problem(['entries', index, ...key], message));
    const [first, ...rest] = new Set(written.selectors);
    if (first === undefined) throw new Error('an entry without selectors has passed its schema');
    return Object.freeze({
      id: written.id,
      spiffeId: written.spiffe_id,
      selectors: Object.freeze<[Selector, ...Selector[]]>([first, ...rest]),
      owner: written.owner,
      x509SvidTtl: written.x509_svid_ttl,
      jwtSvidTtl: written.jwt_svid_ttl,
      witSvidTtl: written.wit_svid_ttl,
      dnsNames: Object.freeze([...new Set(written.dns_names)]),
      hint: written.hint,
      federatesWith: Object.freeze([...new Set(written.federates_with)]),
      audiences: written.audiences && Object.freeze([...new Set(written.audiences)]),
      expiresAt: written.expires_at,
      source: `${document.file}:${document.lineOf(['entries', index])}`,
    });
  });
  return { entries, problems };
}

type Broken = readonly [key: readonly (string | number)[], message: string];

function* broken(entry: EntryFile['entries'][number], rules: EntryRules): Generator<Broken> {
  const domain = trustDomainOf(entry.spiffe_id);
  if (domain !== rules.trustDomain) {
    yield [
      ['spiffe_id'],
      `is of the trust domain ${domain}; this agent issues in ${rules.trustDomain} only: write spiffe://${rules.trustDomain}${pathOf(entry.spiffe_id)}`,
    ];
  } else if (pathOf(entry.spiffe_id) === '') {
    yield [['spiffe_id'], `names the trust domain itself; add a path, such as ${entry.spiffe_id}/payments`];
  }
  if (rules.requireOwner && entry.owner === undefined) {
    yield [[], 'has no owner, and require_owner is set; add owner: with who answers for this identity'];
  }
  for (const [index, selector] of entry.selectors.entries()) {
    const type = selectorType(selector);
    if (!rules.selectorTypes.includes(type)) {
      yield [['selectors', index], `has the unknown type ${type}; ${suggestion(type, rules.selectorTypes)}`];
    }
  }
  for (const [index, federated] of entry.federates_with.entries()) {
    if (federated === rules.trustDomain) {
      yield [
        ['federates_with', index],
        'is the own trust domain, whose bundle every workload gets anyway; leave it out',
      ];
    }
  }
}
