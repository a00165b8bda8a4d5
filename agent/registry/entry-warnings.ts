import type { Vocabulary } from '../attest/vocabulary.ts';
import { type Selector, selector } from '../kernel/selector.ts';
import type { TrustDomain } from '../kernel/spiffe-id.ts';
import type { Entry } from './entry.ts';
import type { Placeholder } from './placeholder.ts';
import { isGivenAwayBy } from './template-overlap.ts';
import { type EntryTemplate, isTemplate, type WrittenEntry } from './written-entry.ts';

/** What the rest of the agent makes of entries. */
export interface EntrySurroundings {
  readonly vocabulary: Vocabulary;
  /** The trust domains whose bundles are configured. */
  readonly federated: ReadonlySet<TrustDomain>;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

const MOST_TOLD = 50;

/** What is allowed in entries and probably not meant: a sentence each, for the first fifty. */
export function entryWarnings(entries: readonly WrittenEntry[], surroundings: EntrySurroundings): readonly string[] {
  const told: string[] = [];
  let count = 0;
  const templates = entries.filter(isTemplate);
  for (const entry of entries) {
    for (const doubt of isTemplate(entry)
      ? [...templateDoubts(entry, surroundings), ...collisions(entry, templates)]
      : [...doubts(entry, surroundings), ...claims(entry, templates)]) {
      count += 1;
      if (told.length < MOST_TOLD) told.push(`${entry.source}: entry ${entry.id}: ${doubt}`);
    }
  }
  return count > told.length ? [...told, `and ${count - told.length} more warnings about entries`] : told;
}

function* templateDoubts(template: EntryTemplate, surroundings: EntrySurroundings): Generator<string> {
  const { vocabulary } = surroundings;
  for (const { placeholder } of template.renderer.sources) {
    const never = vocabulary.neverSaid(exampleOf(placeholder, vocabulary));
    if (never !== undefined) yield `no process can match it: ${placeholder.text} ${never}`;
  }
  yield* doubts(template, surroundings);
}

/** A selector that a placeholder would take a value from. */
function exampleOf({ key, name, type }: Placeholder, { names }: Vocabulary): Selector {
  const { example = '', key: separator = ':' } = names.get(type)?.get(name) ?? {};
  return selector(type, name, key === undefined ? example : `${key}${separator}${example}`);
}

/** Templates that give an entry's very identity to processes without all that the entry asks for. */
function* claims(entry: Entry, templates: readonly EntryTemplate[]): Generator<string> {
  for (const { id, renderer } of templates) {
    const asked = renderer.named(entry.spiffeId)?.selectors;
    if (asked === undefined || entry.selectors.every((selector) => asked.includes(selector))) continue;
    yield `the template ${id} gives ${entry.spiffeId} to every process with ${asked.join(' and ')}, whatever else this entry asks for`;
  }
}

/** Templates that may give one and the same identity, for different reasons. Each pair is told once. */
function* collisions(template: EntryTemplate, templates: readonly EntryTemplate[]): Generator<string> {
  for (const other of templates) {
    if (other.id <= template.id) continue;
    if (!isGivenAwayBy(template, other) && !isGivenAwayBy(other, template)) continue;
    yield `it and the template ${other.id} may give one and the same identity to different processes: ${template.renderer.spiffeId} and ${other.renderer.spiffeId}`;
  }
}

function* doubts(entry: WrittenEntry, { vocabulary, federated, now }: EntrySurroundings): Generator<string> {
  for (const selector of entry.selectors) {
    const never = vocabulary.neverSaid(selector);
    if (never !== undefined) yield `no process can match it: ${JSON.stringify(selector)} ${never}`;
    if (selector.includes('{{')) {
      yield `${JSON.stringify(selector)} asks for these very braces: only spiffe_id and dns_names may have placeholders`;
    }
  }
  for (const domain of entry.federatesWith) {
    if (!federated.has(domain)) {
      yield `it federates with ${domain}, whose bundle nobody gets: bundles has no file for that trust domain`;
    }
  }
  if (entry.expiresAt !== undefined && entry.expiresAt <= now) {
    yield `it has expired at ${new Date(entry.expiresAt).toISOString()} and gives nobody an identity`;
  }
}
