import * as v from 'valibot';
import { duration, filePath, size } from './field.ts';

/** What the reference says of a key, and what a reload may do with it. */
export interface KeyNote {
  /** What may be written, such that "it must be …" reads well. */
  readonly form: string;
  readonly says: string;
  /** Whether a running agent takes a new value over, or refuses the file until it is started again. */
  readonly change: 'reload' | 'restart';
  /** How an environment variable or a flag, which are text, becomes a value; a list cannot be written so. */
  readonly takes: 'text' | 'path' | 'number' | 'boolean' | 'list';
}

/** The note of a key that holds a value; `undefined` for a section. */
export function keyNoteOf(schema: v.GenericSchema): KeyNote | undefined {
  const note = v.getMetadata(schema);
  return 'form' in note ? (note as unknown as KeyNote) : undefined;
}

/** What a key holds: the schema, and its grammar in words. */
interface Kind<S extends v.GenericSchema> extends Pick<KeyNote, 'form' | 'takes'> {
  readonly of: S;
}

/** A key that may be left out: then it is `otherwise`, which is spelled as in the file. */
export function key<const S extends v.GenericSchema>(
  { form, takes, of }: Kind<S>,
  otherwise: v.InferInput<S>,
  change: KeyNote['change'],
  says: string,
) {
  return v.pipe(v.optional(of, otherwise), v.metadata({ form, takes, says, change } satisfies KeyNote));
}

/** @param form what may be written, such that "it must be …" reads well */
export function kind<const S extends v.GenericSchema>(form: string, takes: KeyNote['takes'], of: S): Kind<S> {
  return { form, takes, of };
}

// The kinds that most keys are of.
export const ttl = (min: string, max: string) => kind(`a duration from ${min} to ${max}`, 'text', duration(min, max));
export const flag = kind('true or false', 'boolean', v.boolean());
export const path = kind('a path', 'path', filePath);
export const choice = <const V extends readonly string[]>(...values: V) =>
  kind(values.length === 1 ? values.join('') : `one of ${values.join(', ')}`, 'text', v.picklist(values));
export const count = (max: number) =>
  kind(`a whole number from 1 to ${max}`, 'number', v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(max)));
export const bytes = (min: string, max: string) => kind(`a size from ${min} to ${max}`, 'text', size(min, max));
