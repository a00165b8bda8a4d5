import type { z } from 'zod';
import { type DocumentPath, formatPath, type Place, type Problem, show } from './problem.ts';
import { nearest, suggestion } from './spelling.ts';

/** Finds the place of a path, for messages. */
export interface Places {
  placeOf(path: DocumentPath): Place;
  placeOfKey(path: DocumentPath): Place;
}

type Issue = z.core.$ZodIssue;

/** Checks `value` with `schema`: what the schema made of it, or everything that is wrong with it. */
export function check<S extends z.ZodType>(
  schema: S,
  value: unknown,
  places: Places,
): { readonly value: z.output<S> } | { readonly problems: readonly Problem[] } {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return { value: result.data };
  return { problems: result.error.issues.flatMap((issue) => toProblems(issue, schema, places)) };
}

function toProblems(issue: Issue, schema: z.ZodType, places: Places): readonly Problem[] {
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(schema, issue.path);
    return issue.keys.map((key) => {
      const path = [...issue.path, key];
      return {
        ...places.placeOfKey(path),
        path: formatPath(path),
        message: `is no known key; ${suggestion(key, known)}`,
      };
    });
  }
  return [{ ...places.placeOf(issue.path), path: formatPath(issue.path), message: sentence(issue) }];
}

function sentence(issue: Exclude<Issue, z.core.$ZodIssueUnrecognizedKeys>): string {
  const found = issue.input;
  if (issue.path.length === 0 && found === null) return 'is empty';
  switch (issue.code) {
    case 'invalid_type':
      return mustBe(authored(issue) ?? KINDS[issue.expected] ?? issue.expected, found);
    case 'invalid_value': {
      const allowed = issue.values.map(String);
      const near = typeof found === 'string' ? nearest(found, allowed) : undefined;
      return mustBe(listed(allowed), found) + (near === undefined ? '' : `; did you mean ${near}?`);
    }
    case 'invalid_union':
      return mustBe(authored(issue) ?? listed(alternatives(issue)), found);
    case 'too_big':
      return `must ${bound(issue.origin, 'at most', Number(issue.maximum))}, found ${measured(found)}`;
    case 'too_small':
      return `must ${bound(issue.origin, 'at least', Number(issue.minimum))}, found ${measured(found)}`;
    case 'custom':
    case 'invalid_format':
    case 'not_multiple_of':
    case 'invalid_key':
    case 'invalid_element':
      break;
  }
  // What the schema's author wrote.
  return issue.message;
}

/** What a schema calls its kind itself: `z.string({ error: 'a path' })`. The library's own messages all begin alike. */
function authored({ message }: Issue): string | undefined {
  return message.startsWith('Invalid') ? undefined : message;
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'a mapping of keys to values',
  record: 'a mapping of keys to values',
  array: 'a list',
};

function mustBe(kind: string, found: unknown): string {
  if (found === undefined) return `is missing; it must be ${kind}`;
  if (found === null) return `has no value; it must be ${kind}, or leave the key out`;
  // These were booleans in YAML 1.1 and are words in 1.2.
  const word = typeof found === 'string' && /^(?:yes|no|on|off)$/i.test(found) && kind.includes('true');
  return `must be ${kind}, found ${show(found)}${word ? '; write true or false' : ''}`;
}

function bound(origin: string, which: string, limit: number): string {
  switch (origin) {
    case 'array':
    case 'set':
    case 'map':
      return `have ${which} ${limit} ${limit === 1 ? 'item' : 'items'}`;
    case 'string':
      return `have ${which} ${limit} ${limit === 1 ? 'character' : 'characters'}`;
    default:
      return `be ${which} ${limit}`;
  }
}

function measured(found: unknown): string {
  if (Array.isArray(found)) return String(found.length);
  return show(found);
}

/** What the branches of a union would have taken. */
function alternatives(issue: z.core.$ZodIssueInvalidUnion): readonly string[] {
  const kinds = issue.errors.flat().flatMap((inner) => {
    if (inner.code === 'invalid_type' && inner.expected === 'boolean') return ['true', 'false'];
    if (inner.code === 'invalid_type') return [KINDS[inner.expected] ?? inner.expected];
    if (inner.code === 'invalid_value') return inner.values.map(String);
    return inner.code === 'custom' ? [inner.message] : [];
  });
  return [...new Set(kinds)];
}

/** `a`, `a or b`, `a, b or c`. */
function listed(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}

/** The keys that the mapping at `path` may have. */
function knownKeys(schema: z.ZodType, path: DocumentPath): readonly string[] {
  let at: z.core.$ZodType | undefined = unwrap(schema);
  for (const part of path) {
    const def: z.core.$ZodTypeDef & { shape?: z.core.$ZodShape; element?: z.core.$ZodType } = at._zod.def;
    const next: z.core.$ZodType | undefined = typeof part === 'number' ? def.element : def.shape?.[String(part)];
    if (next === undefined) return [];
    at = unwrap(next);
  }
  return Object.keys((at._zod.def as { shape?: z.core.$ZodShape }).shape ?? {});
}

/** The schema of what is written, without the wrappers that give it a default or turn it into something else. */
export function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  const def = schema._zod.def as z.core.$ZodTypeDef & { innerType?: z.core.$ZodType; in?: z.core.$ZodType };
  const inner = def.innerType ?? (def.type === 'pipe' ? def.in : undefined);
  return inner === undefined ? schema : unwrap(inner);
}
