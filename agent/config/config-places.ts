import { type Override, overrideAt } from './overrides.ts';
import { type DocumentPath, formatPath, type Place, type Problem } from './problem.ts';
import type { Places } from './schema-problems.ts';
import type { YamlTree } from './yaml-tree.ts';

/** Where each value of the effective configuration comes from: an override, or else the file. */
export class ConfigPlaces implements Places {
  readonly #tree: YamlTree;
  readonly #overrides: readonly Override[];

  constructor(tree: YamlTree, overrides: readonly Override[]) {
    this.#tree = tree;
    this.#overrides = overrides;
  }

  placeOf(path: DocumentPath): Place {
    return this.#ofOverride(path) ?? this.#tree.placeOf(path);
  }

  placeOfKey(path: DocumentPath): Place {
    return this.#ofOverride(path) ?? this.#tree.placeOfKey(path);
  }

  /** A problem of several keys, at the first of `paths` that somebody wrote; the others have their defaults. */
  problem(paths: readonly DocumentPath[], message: string): Problem {
    const path = paths.find((candidate) => this.#isWritten(candidate)) ?? paths[0] ?? [];
    return { ...this.placeOf(path), path: formatPath(path), message };
  }

  /** Messages quote what was found; the values of environment variables must not stand in them. */
  withoutEnvironment(problems: readonly Problem[]): readonly Problem[] {
    return problems.map((problem) => {
      const override = this.#overrides.find(({ source }) => source === problem.source);
      if (override === undefined || override.shown) return problem;
      return { ...problem, message: `does not have a value that is allowed; it must be ${override.key.form}` };
    });
  }

  #isWritten(path: DocumentPath): boolean {
    return overrideAt(path, this.#overrides) !== undefined || this.#tree.has(path);
  }

  #ofOverride(path: DocumentPath): Place | undefined {
    const override = overrideAt(path, this.#overrides);
    return override && { source: override.source, line: undefined, column: undefined };
  }
}
