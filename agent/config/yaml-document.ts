import type * as v from 'valibot';
import { type DocumentPath, formatPath, InvalidConfig, type Problem } from './problem.ts';
import { check } from './schema-problems.ts';
import { readTextFile } from './text-file.ts';
import { readLongTree, readTree, type YamlTree } from './yaml-tree.ts';

/** What a schema made of a YAML text, and where in the text each value stands. */
export interface YamlDocument<T> {
  readonly file: string;
  readonly value: T;
  /** The line of the value at `path`, or of the nearest thing around it that is there; from 1. */
  lineOf(path: DocumentPath): number;
  /** Something wrong at `path` that a schema cannot see, such as an id that another file has too. */
  problem(path: DocumentPath, message: string): Problem;
}

/**
 * Reads YAML 1.2 strictly (see `readTree`) and checks it with `schema`. All problems are told in one go: those of the syntax, or if
 * there are none those of the values.
 *
 * @param file its name, for messages
 * @throws InvalidConfig
 */
export function parseDocument<S extends v.GenericSchema>(
  file: string,
  text: string,
  schema: S,
): YamlDocument<v.InferOutput<S>> {
  return toDocument(file, readTree(file, text), schema);
}

/**
 * {@link parseDocument} for texts of megabytes: others have their turn meanwhile (see `readLongTree`).
 *
 * @throws InvalidConfig
 */
export async function parseLongDocument<S extends v.GenericSchema>(
  file: string,
  text: string,
  schema: S,
): Promise<YamlDocument<v.InferOutput<S>>> {
  return toDocument(file, await readLongTree(file, text), schema);
}

/**
 * {@link parseLongDocument} of a regular file of at most `maxBytes`.
 *
 * @throws InvalidConfig also when the file is missing, may not be read or is no regular file (see `readTextFile`)
 */
export async function readDocument<S extends v.GenericSchema>(
  path: string,
  schema: S,
  maxBytes: number,
): Promise<YamlDocument<v.InferOutput<S>>> {
  return parseLongDocument(path, await readTextFile(path, maxBytes), schema);
}

function toDocument<S extends v.GenericSchema>(
  file: string,
  tree: YamlTree,
  schema: S,
): YamlDocument<v.InferOutput<S>> {
  const result = check(schema, tree.value, tree);
  if ('problems' in result) throw new InvalidConfig(result.problems);
  return {
    file,
    value: result.value,
    lineOf: (path) => tree.placeOf(path).line ?? 1,
    problem: (path, message) => ({ ...tree.placeOf(path), path: formatPath(path), message }),
  };
}
