import type { Vocabulary } from '../attest/vocabulary.ts';
import { show } from '../config/problem.ts';
import { suggestion } from '../config/spelling.ts';
import { MayflyError } from '../kernel/errors.ts';
import { isPathSegment } from '../kernel/spiffe-id.ts';

/** Stands in a text for the value of one selector: `{{k8s.sa}}`, or of one key, `{{k8s.pod-label:app}}`. */
export interface Placeholder {
  /** As it is written, without blanks: two that are equal stand for the same. */
  readonly text: string;
  readonly type: string;
  readonly name: string;
  readonly key: string | undefined;
}

// A selector is never taken apart. A key with a colon in it would end where somebody else's value may go on.
const PLACEHOLDER = /^([a-z][a-z0-9_]*)\.([a-z][a-z0-9_-]*)(?::([!-9;<>-z|~]+))?$/;

/**
 * @param inside what stands between the braces
 * @throws MayflyError `INVALID_CONFIG`
 */
export function parsePlaceholder(inside: string): Placeholder {
  const [, type, name, key] = PLACEHOLDER.exec(inside.trim()) ?? [];
  if (type === undefined || name === undefined) {
    throw new MayflyError(
      'INVALID_CONFIG',
      `${show(`{{${inside}}}`)} is no placeholder; write {{type.name}} or {{type.name:key}} without ":" and "=" in the key, such as {{k8s.sa}} or {{k8s.pod-label:app}}`,
    );
  }
  return { text: `{{${inside.trim()}}}`, type, name, key };
}

/** What every selector begins with that has a value for a placeholder: `k8s:pod-label:app:`. */
export function prefixOf({ key, name, type }: Placeholder, { names }: Pick<Vocabulary, 'names'>): string {
  const start = `${type}:${name}:`;
  return key === undefined ? start : `${start}${key}${names.get(type)?.get(name)?.key ?? ':'}`;
}

/** Why no entry may have a placeholder, such that it reads well behind it; `undefined` when one may. */
export function placeholderProblem(
  { key, name, type }: Placeholder,
  { names, types }: Pick<Vocabulary, 'names' | 'types'>,
): string | undefined {
  const known = names.get(type);
  if (known === undefined) return `has the unknown type ${type}; ${suggestion(type, types)}`;
  const said = known.get(name);
  if (said === undefined) return `asks for ${name}, which ${type} does not say; ${suggestion(name, usable(known))}`;
  if (said.values === 'several') {
    return `may have several values of one process, and none of them is the right one; ${suggestion('', usable(known))}`;
  }
  if (!isPathSegment(said.example)) {
    return `has values like ${said.example}, which cannot stand in an identity; ${suggestion('', usable(known))}`;
  }
  if (said.key === undefined && key !== undefined) return `has a key, and ${type}:${name} has none; leave it out`;
  if (said.key !== undefined && key === undefined) return `has no key; write {{${type}.${name}:KEY}}`;
  return undefined;
}

/** The names that a placeholder may ask for. */
function usable(known: NonNullable<ReturnType<Vocabulary['names']['get']>>): readonly string[] {
  return [...known]
    .filter(([, { example, values }]) => values === 'one' && isPathSegment(example))
    .map(([name]) => name);
}
