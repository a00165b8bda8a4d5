import * as v from 'valibot';
import { type DocumentPath, formatPath, type Place, type Problem, show } from './problem.ts';
import { nearest, suggestion } from './spelling.ts';

/** Finds the place of a path, for messages. */
export interface Places {
  placeOf(path: DocumentPath): Place;
  placeOfKey(path: DocumentPath): Place;
}

type Issue = v.BaseIssue<unknown>;

/** A schema with the parts that valibot documents; which of them it has depends on its type. */
interface Schema extends v.GenericSchema {
  readonly entries?: Readonly<Record<string, v.GenericSchema>>;
  readonly item?: v.GenericSchema;
  readonly wrapped?: v.GenericSchema;
  readonly pipe?: readonly (v.GenericSchema | v.PipeAction<unknown, unknown, Issue>)[];
  readonly options?: readonly (v.GenericSchema | string)[];
  readonly literal?: unknown;
  readonly message?: unknown;
}

/** Checks `value` with `schema`: what the schema made of it, or everything that is wrong with it. */
export function check<S extends v.GenericSchema>(
  schema: S,
  value: unknown,
  places: Places,
): { readonly value: v.InferOutput<S> } | { readonly problems: readonly Problem[] } {
  // One fault of each value: 0.5 is no whole number, and that it is below a minimum of 1 says no more.
  const result = v.safeParse(schema, value, { abortPipeEarly: true });
  if (result.success) return { value: result.output };
  const meant = new Set(result.issues.flatMap((issue) => meantBy(issue, schema)));
  const issues = result.issues.filter((issue) => !(issue.input === undefined && meant.has(formatPath(pathOf(issue)))));
  return { problems: issues.flatMap((issue) => toProblems(issue, schema, places)) };
}

/** The keys that misspelt ones stand for: that these are missing need not be said, too. */
function meantBy(issue: Issue, schema: v.GenericSchema): readonly string[] {
  if (!isUnknownKey(issue)) return [];
  const { above, known, unknown } = keysAt(issue, schema);
  return unknown
    .map((key) => nearest(key, known))
    .filter((key) => key !== undefined)
    .map((key) => formatPath([...above, key]));
}

function toProblems(issue: Issue, schema: v.GenericSchema, places: Places): readonly Problem[] {
  const path = pathOf(issue);
  if (isUnknownKey(issue)) return unknownKeys(issue, schema, places);
  return [{ ...places.placeOf(path), path: formatPath(path), message: sentence(issue, path, schemaAt(path, schema)) }];
}

/** One for each unknown key of the mapping that `issue`, which is only about the first, was found in. */
function unknownKeys(issue: Issue, schema: v.GenericSchema, places: Places): readonly Problem[] {
  const { above, known, unknown } = keysAt(issue, schema);
  return unknown.map((key) => ({
    ...places.placeOfKey([...above, key]),
    path: formatPath([...above, key]),
    message: `is no known key; ${suggestion(key, known)}`,
  }));
}

function isUnknownKey({ expected, type }: Issue): boolean {
  return type === 'strict_object' && expected === 'never';
}

function pathOf(issue: Issue): PropertyKey[] {
  return (issue.path ?? []).map(({ key }) => key as PropertyKey);
}

/** Of the mapping in which `issue` has found an unknown key: where it is, which keys it may have, which it has beside these. */
function keysAt(issue: Issue, schema: v.GenericSchema) {
  const above = pathOf(issue).slice(0, -1);
  const known = Object.keys(schemaAt(above, schema).entries ?? {});
  const written = Object.keys(issue.path?.at(-1)?.input ?? {});
  return { above, known, unknown: written.filter((key) => !known.includes(key)) };
}

function sentence(issue: Issue, path: DocumentPath, schema: Schema): string {
  const { input: found, requirement } = issue;
  if (path.length === 0 && found === null) return 'is empty';
  if (issue.kind === 'schema') {
    const allowed = allowedBy(schema);
    const near = schema.type === 'picklist' && typeof found === 'string' ? nearest(found, allowed) : undefined;
    return mustBe(listed(allowed), found) + (near === undefined ? '' : `; did you mean ${near}?`);
  }
  switch (issue.type) {
    case 'integer':
      return mustBe('a whole number', found);
    case 'min_value':
      return `must be at least ${Number(requirement)}, found ${show(found)}`;
    case 'max_value':
      return `must be at most ${Number(requirement)}, found ${show(found)}`;
    case 'min_length':
      return `must have at least ${items(Number(requirement))}, found ${issue.received}`;
    case 'max_length':
      return `must have at most ${items(Number(requirement))}, found ${issue.received}`;
    default:
      // What the schema's author wrote.
      return issue.message;
  }
}

/** What may stand where `schema` is: in its author's words, such as `v.string('a path')`, or else what there is to choose from. */
function allowedBy(schema: Schema): readonly string[] {
  const { type, message, options = [], literal } = schema;
  if (typeof message === 'string') return [message];
  switch (type) {
    case 'boolean':
      return ['true', 'false'];
    case 'literal':
      return [String(literal)];
    case 'picklist':
    case 'union':
      return options.flatMap((option) => (typeof option === 'string' ? option : allowedBy(unwrap(option))));
    default:
      return [KINDS[type] ?? type];
  }
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  strict_object: 'a mapping of keys to values',
  array: 'a list',
};

function mustBe(kind: string, found: unknown): string {
  if (found === undefined) return `is missing; it must be ${kind}`;
  if (found === null) return `has no value; it must be ${kind}, or leave the key out`;
  // These were booleans in YAML 1.1 and are words in 1.2.
  const word = typeof found === 'string' && /^(?:yes|no|on|off)$/i.test(found) && kind.includes('true');
  return `must be ${kind}, found ${show(found)}${word ? '; write true or false' : ''}`;
}

function items(count: number): string {
  return `${count} ${count === 1 ? 'item' : 'items'}`;
}

/** `a`, `a or b`, `a, b or c`. */
function listed(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}

/** The schema of what is written at `path`. */
function schemaAt(path: DocumentPath, schema: v.GenericSchema): Schema {
  let at = unwrap(schema);
  for (const part of path) {
    const next = typeof part === 'number' ? at.item : at.entries?.[String(part)];
    if (next === undefined) throw new Error(`no schema stands at ${formatPath(path)}`);
    at = unwrap(next);
  }
  return at;
}

/** The schema of what is written, without what gives it a default, narrows it or turns it into something else. */
export function unwrap(schema: v.GenericSchema): Schema {
  const { pipe, wrapped }: Schema = schema;
  const inner = pipe?.findLast((part) => part.kind === 'schema') ?? wrapped;
  return inner === undefined ? schema : unwrap(inner);
}
