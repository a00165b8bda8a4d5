import type { z } from 'zod';
import { filePath } from './field.ts';
import { configSchema, type KeyNote, keyNotes } from './schema.ts';
import { unwrap } from './schema-problems.ts';

/** One key of the configuration that holds a value. */
export interface ConfigKey extends KeyNote {
  /** `['peer', 'require_pidfd']`. */
  readonly path: readonly string[];
  /** `peer.require_pidfd`. */
  readonly name: string;
  /** What it is when nobody says anything, as it would be written; `undefined` when it has to be said. */
  readonly default: unknown;
  /** How an environment variable or a flag, which are text, becomes a value; a list cannot be written so. */
  readonly takes: 'text' | 'path' | 'number' | 'boolean' | 'list';
}

/** Every key of the configuration, in the order of the schema. */
export const configKeys: readonly ConfigKey[] = keysOf(configSchema, []);

/** The mappings that keys stand in: `peer`, `attestors.unix`. */
export const configSections: readonly string[] = [
  ...new Set(configKeys.flatMap(({ path }) => path.slice(0, -1).map((_, index) => path.slice(0, index + 1).join('.')))),
];

function keysOf(section: z.core.$ZodType, above: readonly string[]): readonly ConfigKey[] {
  const { shape } = unwrap(section)._zod.def as { shape?: z.core.$ZodShape };
  return Object.entries(shape ?? {}).flatMap(([key, schema]) => {
    const path = [...above, key];
    const note = keyNotes.get(schema);
    if (note === undefined) return keysOf(schema, path);
    const { defaultValue } = schema._zod.def as { defaultValue?: unknown };
    return [{ ...note, path, name: path.join('.'), default: defaultValue, takes: takesOf(unwrap(schema)) }];
  });
}

function takesOf(schema: z.core.$ZodType): ConfigKey['takes'] {
  const { type, options } = schema._zod.def as z.core.$ZodTypeDef & { options?: readonly z.core.$ZodType[] };
  if (schema === filePath) return 'path';
  if (type === 'array') return 'list';
  if (type === 'number') return 'number';
  // The text stays text where none of the two words is meant.
  if (type === 'boolean' || options?.some((option) => option._zod.def.type === 'boolean') === true) return 'boolean';
  return 'text';
}
