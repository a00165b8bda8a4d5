import { show } from '../config/problem.ts';
import { isMayflyError, MayflyError } from '../kernel/errors.ts';
import { parseSelector, type Selector } from '../kernel/selector.ts';
import { isPathSegment, parseSpiffeId, type SpiffeId } from '../kernel/spiffe-id.ts';
import type { Entry, EntryTerms } from './entry.ts';
import { parseDnsName } from './entry-field.ts';
import type { Placeholder } from './placeholder.ts';
import type { Template } from './template.ts';

/** Why a process gets nothing of a template that is meant for it. */
export interface Misfit {
  readonly entryId: string;
  readonly kind: 'several values' | 'unusable value';
  /** What was found and what is allowed. */
  readonly message: string;
}

/** A placeholder, and what the selectors begin with that have its value. */
export interface Source {
  readonly placeholder: Placeholder;
  readonly prefix: string;
}

export interface RendererParts {
  readonly terms: EntryTerms;
  readonly spiffeId: SpiffeId | Template;
  readonly dnsNames: readonly (string | Template)[];
  /** One for each placeholder in any of them. */
  readonly sources: readonly Source[];
}

/** By the placeholder's text. */
type Values = ReadonlyMap<string, string>;

// The newest of one template. What falls out is made anew when it is wanted: another object, of the same meaning.
const MOST_KEPT = 4096;

/**
 * Makes the entries of one template: the same object for the same values, so that what others derive from it can be kept by its
 * identity. A value comes from a selector that was attested, whole, and is refused where it does not fit. Nothing in it is replaced,
 * since two values could become one identity then, and it is never looked at for placeholders.
 */
export class Renderer {
  readonly #parts: RendererParts;
  readonly #kept = new Map<string, Entry>();

  constructor(parts: RendererParts) {
    this.#parts = parts;
  }

  /** As it is written. */
  get spiffeId(): string {
    return writtenOf(this.#parts.spiffeId);
  }

  /** As they are written. */
  get dnsNames(): readonly string[] {
    return this.#parts.dnsNames.map(writtenOf);
  }

  get sources(): readonly Source[] {
    return this.#parts.sources;
  }

  /**
   * The entry for a process.
   *
   * @param own all of its selectors, the template's among them
   * @returns `undefined` when a placeholder has no value: the process is not meant, as if it lacked a selector
   */
  render(own: ReadonlySet<Selector>): Entry | Misfit | undefined {
    const { sources, terms } = this.#parts;
    const values = new Map<string, string>();
    let ambiguous: string | undefined;
    for (const selector of own) {
      for (const { placeholder, prefix } of sources) {
        if (!selector.startsWith(prefix)) continue;
        const value = selector.slice(prefix.length);
        const other = values.get(placeholder.text);
        if (other !== undefined) ambiguous ??= `${placeholder.text} is both ${show(other)} and ${show(value)}`;
        values.set(placeholder.text, value);
      }
    }
    if (values.size < sources.length) return undefined;
    if (ambiguous !== undefined) return { entryId: terms.id, kind: 'several values', message: ambiguous };
    try {
      return this.#of(values);
    } catch (error) {
      if (!isMayflyError(error)) throw error;
      return { entryId: terms.id, kind: 'unusable value', message: error.message };
    }
  }

  /**
   * The entry so far as an identity alone tells it; `undefined` when no values give that identity. DNS names with other values are not
   * in it.
   */
  named(spiffeId: string): Entry | undefined {
    const { sources, spiffeId: template } = this.#parts;
    if (typeof template === 'string' && template !== spiffeId) return undefined;
    const values: Values | undefined = typeof template === 'string' ? new Map() : template.valuesIn(spiffeId);
    if (values === undefined) return undefined;
    try {
      return values.size === sources.length ? this.#of(values) : this.#make(values);
    } catch (error) {
      if (!isMayflyError(error)) throw error;
      return undefined;
    }
  }

  /**
   * @param values of all placeholders
   * @throws MayflyError what does not fit
   */
  #of(values: Values): Entry {
    const { sources } = this.#parts;
    // None that fits has a NUL in it.
    const key = sources.map(({ placeholder }) => values.get(placeholder.text) ?? '').join('\0');
    const kept = this.#kept.get(key);
    const entry = kept ?? this.#make(values);
    this.#kept.delete(key);
    this.#kept.set(key, entry);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MOST_KEPT && oldest !== undefined) this.#kept.delete(oldest);
    return entry;
  }

  /**
   * @param values of all placeholders in the SPIFFE ID at least
   * @throws MayflyError what does not fit
   */
  #make(values: Values): Entry {
    const { dnsNames, sources, spiffeId, terms } = this.#parts;
    const taken = sources.flatMap(({ placeholder, prefix }) => {
      const value = values.get(placeholder.text);
      return value === undefined ? [] : parseSelector(`${prefix}${value}`);
    });
    const [first, ...rest] = new Set([...terms.selectors, ...taken]);
    if (first === undefined) throw new Error('a template asks for nothing at all');
    const names = dnsNames.flatMap((name) => (typeof name === 'string' ? name : (nameFrom(name, values) ?? [])));
    return Object.freeze({
      ...terms,
      selectors: Object.freeze<[Selector, ...Selector[]]>([first, ...rest]),
      spiffeId: typeof spiffeId === 'string' ? spiffeId : idFrom(spiffeId, values),
      dnsNames: Object.freeze([...new Set(names)]),
    });
  }
}

/** @throws MayflyError `INVALID_SPIFFE_ID` */
function idFrom(template: Template, values: Values): SpiffeId {
  const id = template.fill((placeholder) => {
    const value = values.get(placeholder.text) ?? '';
    if (isPathSegment(value)) return value;
    throw new MayflyError(
      'INVALID_SPIFFE_ID',
      `${placeholder.text} is ${show(value)}; in a SPIFFE ID it may be A-Z, a-z, 0-9, ".", "-" and "_", and not "." or ".."`,
    );
  });
  return parseSpiffeId(id);
}

// Of a label, which ignores case: "A" and "a" would be one name.
const LABEL_PART = /^[a-z0-9-]+$/;

/** `undefined` while not all of its values are known. @throws MayflyError `INVALID_CONFIG` */
function nameFrom(template: Template, values: Values): string | undefined {
  if (!template.placeholders.every(({ text }) => values.has(text))) return undefined;
  const name = template.fill((placeholder) => {
    const value = values.get(placeholder.text) ?? '';
    if (LABEL_PART.test(value)) return value;
    throw new MayflyError(
      'INVALID_CONFIG',
      `${placeholder.text} is ${show(value)}; in a DNS name it may be a-z, 0-9 and "-"`,
    );
  });
  return parseDnsName(name);
}

function writtenOf(text: string | Template): string {
  return typeof text === 'string' ? text : text.text;
}
