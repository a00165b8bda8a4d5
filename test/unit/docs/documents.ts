import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '..', '..', '..');

/** A document for people: its path in the repository, and its text. */
export interface Document {
  readonly path: string;
  readonly text: string;
}

export function readDocument(path: string): Document {
  return { path, text: readFileSync(join(ROOT, path), 'utf8') };
}

/** All documents of the repository. */
export const documents: readonly Document[] = globSync(
  ['*.md', 'deploy/examples/{,*/}*.md', 'docs/**/*.md', 'test/vectors/**/*.md'],
  { cwd: ROOT },
)
  .toSorted()
  .map(readDocument);

/** The text outside of fenced code. */
export function proseOf({ text }: Document): string {
  return text.replaceAll(/^```.*?^```$/gms, '');
}

/** The content of each fenced block in a language. */
export function codeBlocks({ text }: Document, language: string): readonly string[] {
  return [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)]
    .filter(([, found]) => found === language)
    .map(([, , content]) => content!);
}

/** The rows of all tables, as cells. */
export function tableRows(document: Document): readonly (readonly string[])[] {
  return proseOf(document)
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| ---'))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    );
}
