import type { Segment } from './template.ts';
import { Template, valueIn } from './template.ts';
import type { EntryTemplate } from './written-entry.ts';

/**
 * Whether one template gives an identity that the other gives, too, to processes without all that the other asks for. What is fixed in
 * one and a value in the other is followed up, what two different placeholders have in common is not: they may have anything.
 */
export function isGivenAwayBy(claimed: EntryTemplate, giver: EntryTemplate): boolean {
  const own = segmentsOf(claimed);
  const given = segmentsOf(giver);
  if (own.length !== given.length) return false;
  const asked = new Set<string>(giver.selectors);
  const wanted = new Set<string>(claimed.selectors);
  const open = new Set(claimed.renderer.sources.map(({ placeholder }) => placeholder.text));
  for (const [index, segment] of own.entries()) {
    const other = given[index];
    if (other === undefined || !mayBeEqual(segment, other)) return false;
    const { placeholder } = segment;
    if (other.placeholder === undefined) {
      if (placeholder === undefined) continue;
      wanted.add(selectorOf(claimed, placeholder.text, valueIn(segment, other.before) ?? ''));
      open.delete(placeholder.text);
    } else if (placeholder === undefined) {
      asked.add(selectorOf(giver, other.placeholder.text, valueIn(other, segment.before) ?? ''));
    } else if (isSame(segment, other)) {
      open.delete(placeholder.text);
    }
  }
  return open.size > 0 || !wanted.isSubsetOf(asked);
}

function segmentsOf({ renderer }: EntryTemplate): readonly Segment[] {
  return Template.parse(renderer.spiffeId, '/').segments;
}

function selectorOf({ renderer }: EntryTemplate, text: string, value: string): string {
  const source = renderer.sources.find(({ placeholder }) => placeholder.text === text);
  return `${source?.prefix ?? ''}${value}`;
}

function mayBeEqual(one: Segment, other: Segment): boolean {
  if (one.placeholder === undefined) return valueIn(other, one.before) !== undefined;
  if (other.placeholder === undefined) return valueIn(one, other.before) !== undefined;
  const begin = one.before.startsWith(other.before) || other.before.startsWith(one.before);
  return begin && (one.after.endsWith(other.after) || other.after.endsWith(one.after));
}

function isSame(one: Segment, other: Segment): boolean {
  return one.before === other.before && one.after === other.after && one.placeholder?.text === other.placeholder?.text;
}
