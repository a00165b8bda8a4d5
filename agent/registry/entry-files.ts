import { createHash } from 'node:crypto';
import { expandGlobs } from '../config/glob.ts';
import { InvalidConfig, type Problem } from '../config/problem.ts';
import { readTextFile } from '../config/text-file.ts';
import { parseLongDocument } from '../config/yaml-document.ts';
import { entriesOf, entryFileSchema } from './entry-file.ts';
import { EntryIndex } from './entry-index.ts';
import type { EntryRules } from './entry-rules.ts';
import type { WrittenEntry } from './written-entry.ts';

interface KnownFile {
  /** Over the text and the rules that it was checked by. */
  readonly digest: string;
  readonly entries: readonly WrittenEntry[];
}

interface ReadFile extends KnownFile {
  readonly file: string;
  readonly text: string;
}

/** An entry, by its index in its file, whose id another one before it has. */
interface Duplicate {
  readonly index: number;
  readonly entry: WrittenEntry;
  readonly other: WrittenEntry;
}

// Parsing runs on the one thread that serves everybody, at one or two megabytes a second.
const MAX_FILE_BYTES = 4 * 1024 ** 2;

/** Reads entry files again and again; what has not changed since it was good is not parsed again. */
export class EntryFiles {
  #known: ReadonlyMap<string, KnownFile> = new Map();

  /**
   * Reads all files that absolute `patterns` name.
   *
   * @throws InvalidConfig with everything that is wrong in any of them
   */
  async read(patterns: readonly string[], rules: EntryRules): Promise<EntryIndex> {
    const problems: Problem[] = [];
    const files: ReadFile[] = [];
    for (const file of await expandGlobs(patterns)) {
      try {
        files.push(await this.#readFile(file, rules));
      } catch (error) {
        if (!(error instanceof InvalidConfig)) throw error;
        problems.push(...error.problems);
      }
    }
    const byId = new Map<string, WrittenEntry>();
    for (const file of files) {
      const duplicates: Duplicate[] = [];
      for (const [index, entry] of file.entries.entries()) {
        const other = byId.get(entry.id);
        if (other === undefined) byId.set(entry.id, entry);
        else duplicates.push({ index, entry, other });
      }
      if (duplicates.length > 0) problems.push(...(await problemsOf(duplicates, file)));
    }
    if (problems.length > 0) throw new InvalidConfig(problems);
    this.#known = new Map(files.map(({ file, digest, entries }) => [file, { digest, entries }]));
    return new EntryIndex(byId.values());
  }

  async #readFile(file: string, rules: EntryRules): Promise<ReadFile> {
    const text = await readTextFile(file, MAX_FILE_BYTES);
    // What attestors may say is the program's own, whatever the configuration.
    const checkedBy = JSON.stringify([rules.trustDomain, rules.requireOwner]);
    const digest = createHash('sha256').update(`${checkedBy}\n${text}`).digest('hex');
    const known = this.#known.get(file);
    if (known?.digest === digest) return { file, text, digest, entries: known.entries };
    const { entries, problems } = entriesOf(await parseLongDocument(file, text, entryFileSchema), rules);
    if (problems.length > 0) throw new InvalidConfig(problems);
    return { file, text, digest, entries };
  }
}

/** Read once more for the places, which nobody keeps for the files that are good. */
async function problemsOf(duplicates: readonly Duplicate[], { file, text }: ReadFile): Promise<readonly Problem[]> {
  const document = await parseLongDocument(file, text, entryFileSchema);
  return duplicates.map(({ index, entry, other }) =>
    document.problem(['entries', index, 'id'], `${entry.id} is the id of ${other.source} too; rename one of them`),
  );
}
