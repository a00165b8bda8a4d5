import * as v from 'valibot';
import { type KeyNote, keyNoteOf } from './key.ts';
import { configSchema } from './schema.ts';
import { unwrap } from './schema-problems.ts';

/** One key of the configuration that holds a value. */
export interface ConfigKey extends KeyNote {
  /** `['peer', 'require_pidfd']`. */
  readonly path: readonly string[];
  /** `peer.require_pidfd`. */
  readonly name: string;
  /** What it is when nobody says anything, as it would be written; `undefined` when it has to be said. */
  readonly default: unknown;
}

/** Every key of the configuration, in the order of the schema. */
export const configKeys: readonly ConfigKey[] = keysOf(configSchema, []);

/** The mappings that keys stand in: `peer`, `attestors.unix`. */
export const configSections: readonly string[] = [
  ...new Set(configKeys.flatMap(({ path }) => path.slice(0, -1).map((_, index) => path.slice(0, index + 1).join('.')))),
];

function keysOf(section: v.GenericSchema, above: readonly string[]): readonly ConfigKey[] {
  return Object.entries(unwrap(section).entries ?? {}).flatMap(([key, schema]) => {
    const path = [...above, key];
    const note = keyNoteOf(schema);
    if (note === undefined) return keysOf(schema, path);
    return [{ ...note, path, name: path.join('.'), default: v.getDefault(schema) }];
  });
}
