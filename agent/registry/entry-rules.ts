import type { Vocabulary } from '../attest/vocabulary.ts';
import { suggestion } from '../config/spelling.ts';
import { type Selector, selectorType } from '../kernel/selector.ts';
import { parseSpiffeId, pathOf, type SpiffeId, type TrustDomain, trustDomainOf } from '../kernel/spiffe-id.ts';
import { type Placeholder, placeholderProblem } from './placeholder.ts';
import type { Template } from './template.ts';

/** What entries must agree with beyond their own form. */
export interface EntryRules {
  /** The agent's own: it can issue in no other. */
  readonly trustDomain: TrustDomain;
  readonly vocabulary: Pick<Vocabulary, 'types' | 'names'>;
  readonly requireOwner: boolean;
}

/** What the rules look at of an entry as it is written. */
interface Ruled {
  readonly spiffe_id: SpiffeId | Template;
  readonly dns_names: readonly (string | Template)[];
  readonly selectors: readonly Selector[];
  readonly owner?: string | undefined;
  readonly federates_with: readonly TrustDomain[];
}

type Broken = readonly [key: readonly (string | number)[], message: string];

/** Everything in which an entry breaks a rule: the key, and what is wrong, such that it reads well behind the key. */
export function* brokenRules(entry: Ruled, rules: EntryRules): Generator<Broken> {
  yield* brokenIdentity(entry, rules);
  if (rules.requireOwner && entry.owner === undefined) {
    yield [[], 'has no owner, and require_owner is set; add owner: with who answers for this identity'];
  }
  if (entry.selectors.length === 0 && typeof entry.spiffe_id === 'string') {
    yield [['selectors'], 'must have at least 1 item, found 0: every process would get this one identity'];
  }
  const { types } = rules.vocabulary;
  for (const [index, selector] of entry.selectors.entries()) {
    const type = selectorType(selector);
    if (!types.includes(type)) {
      yield [['selectors', index], `has the unknown type ${type}; ${suggestion(type, types)}`];
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

/** Each placeholder of an entry, once. */
export function placeholdersOf({
  dns_names,
  spiffe_id,
}: Pick<Ruled, 'dns_names' | 'spiffe_id'>): readonly Placeholder[] {
  const all = [spiffe_id, ...dns_names].flatMap(placeholdersIn);
  return [...new Map(all.map((placeholder) => [placeholder.text, placeholder])).values()];
}

function* brokenIdentity({ dns_names, spiffe_id }: Ruled, { trustDomain, vocabulary }: EntryRules): Generator<Broken> {
  const written = typeof spiffe_id === 'string' ? spiffe_id : spiffe_id.text;
  const domain = trustDomainOf(typeof spiffe_id === 'string' ? spiffe_id : parseSpiffeId(spiffe_id.fill(() => 'x')));
  if (domain !== trustDomain) {
    const path = written.slice(`spiffe://${domain}`.length);
    yield [
      ['spiffe_id'],
      `is of the trust domain ${domain}; this agent issues in ${trustDomain} only: write spiffe://${trustDomain}${path}`,
    ];
  } else if (typeof spiffe_id === 'string' && pathOf(spiffe_id) === '') {
    yield [['spiffe_id'], `names the trust domain itself; add a path, such as ${spiffe_id}/payments`];
  }
  const places = [
    { key: ['spiffe_id'], text: spiffe_id },
    ...dns_names.map((text, index) => ({ key: ['dns_names', index], text })),
  ];
  for (const { key, text } of places) {
    for (const placeholder of placeholdersIn(text)) {
      const problem = placeholderProblem(placeholder, vocabulary);
      if (problem !== undefined) yield [key, `${placeholder.text} ${problem}`];
    }
  }
}

function placeholdersIn(text: string | Template): readonly Placeholder[] {
  return typeof text === 'string' ? [] : text.placeholders;
}
