import { MayflyError } from '../kernel/errors.ts';
import type { Placeholder } from './placeholder.ts';
import { parsePlaceholder } from './placeholder.ts';

/** What stands between two separators: text, or text around one placeholder. */
export interface Segment {
  readonly before: string;
  readonly placeholder?: Placeholder;
  readonly after: string;
}

/** What divides a text into segments: the slash of a path, the dot of a DNS name. */
type Separator = '/' | '.';

/**
 * A text with placeholders for values that have no separator in them. A segment has one at most: of two side by side nobody could tell
 * whose is what, and `a-b` with `c` would give the same as `a` with `b-c`. So other values give another text, always.
 */
export class Template {
  /** As it is written. */
  readonly text: string;
  readonly segments: readonly Segment[];
  readonly #separator: Separator;

  private constructor(text: string, segments: readonly Segment[], separator: Separator) {
    this.text = text;
    this.segments = segments;
    this.#separator = separator;
  }

  /** @throws MayflyError `INVALID_CONFIG` for braces and placeholders that are not as they must be */
  static parse(text: string, separator: Separator): Template {
    const segments = divided(text, separator).map((parts) => segmentOf(parts, text));
    return new Template(text, segments, separator);
  }

  /** Each once. */
  get placeholders(): readonly Placeholder[] {
    const all = this.segments.flatMap(({ placeholder }) => placeholder ?? []);
    return [...new Map(all.map((placeholder) => [placeholder.text, placeholder])).values()];
  }

  /** True when a placeholder stands among the first `count` segments. */
  hasPlaceholderWithin(count: number): boolean {
    return this.segments.slice(0, count).some(({ placeholder }) => placeholder !== undefined);
  }

  /** The text with a value in place of each placeholder; a value is taken as it is, braces and all. */
  fill(valueOf: (placeholder: Placeholder) => string): string {
    return this.segments
      .map(({ after, before, placeholder }) =>
        placeholder === undefined ? before : `${before}${valueOf(placeholder)}${after}`,
      )
      .join(this.#separator);
  }

  /** The way back: the values that give `filled`, by the placeholder's text; `undefined` when none do. */
  valuesIn(filled: string): ReadonlyMap<string, string> | undefined {
    const given = filled.split(this.#separator);
    if (given.length !== this.segments.length) return undefined;
    const values = new Map<string, string>();
    for (const [index, segment] of this.segments.entries()) {
      const value = valueIn(segment, given[index] ?? '');
      if (value === undefined) return undefined;
      const { placeholder } = segment;
      if (placeholder === undefined) continue;
      if ((values.get(placeholder.text) ?? value) !== value) return undefined;
      values.set(placeholder.text, value);
    }
    return values;
  }
}

/** The value that a segment's placeholder has where `own` comes of it; `''` of a segment without one, `undefined` where none gives it. */
export function valueIn({ after, before, placeholder }: Segment, own: string): string | undefined {
  if (placeholder === undefined) return own === before ? '' : undefined;
  if (!own.startsWith(before) || !own.slice(before.length).endsWith(after)) return undefined;
  return own.slice(before.length, own.length - after.length) || undefined;
}

/** True of a text that has placeholders, or is meant to. */
export function hasBraces(text: string): boolean {
  return /[{}]/.test(text);
}

/** Text and placeholders in turn, divided where a separator stands in the text: the keys of placeholders may have some, too. */
function divided(text: string, separator: Separator): readonly (readonly (string | Placeholder)[])[] {
  const segments: (string | Placeholder)[][] = [[]];
  for (const part of text.split(/(\{\{[^{}]*\}\})/)) {
    if (part.startsWith('{{') && part.endsWith('}}')) {
      segments.at(-1)?.push(parsePlaceholder(part.slice(2, -2)));
      continue;
    }
    if (hasBraces(part)) {
      throw new MayflyError(
        'INVALID_CONFIG',
        `${JSON.stringify(text)} has a brace that belongs to no placeholder; write {{type.name}}, such as {{k8s.sa}}`,
      );
    }
    const [first = '', ...rest] = part.split(separator);
    segments.at(-1)?.push(first);
    for (const each of rest) segments.push([each]);
  }
  return segments;
}

function segmentOf(parts: readonly (string | Placeholder)[], text: string): Segment {
  const [before = '', placeholder, after = '', ...more] = parts;
  if (more.length > 0) {
    throw new MayflyError(
      'INVALID_CONFIG',
      `${JSON.stringify(text)} has two placeholders side by side, so that different values could give one and the same; keep at most one between two separators`,
    );
  }
  if (typeof before !== 'string' || typeof after !== 'string')
    throw new Error('text and placeholders do not alternate');
  return typeof placeholder === 'object' ? { before, placeholder, after } : { before, after };
}
