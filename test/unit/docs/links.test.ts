import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Document } from './documents.ts';
import { documents, proseOf, ROOT } from './documents.ts';

describe.each(documents)('$path', (document) => {
  test('has links that lead somewhere', () => {
    expect(linksOf(document).filter((link) => !leadsSomewhere(document, link))).toEqual([]);
  });

  test('names files that exist', () => {
    const named = [...proseOf(document).matchAll(/`((?:agent|docs|proto|test)\/[\w./-]*)`/g)].map(([, path]) => path!);
    expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });
});

test('the documents that people look for are there', () => {
  const paths = documents.map(({ path }) => path);
  for (const path of [
    'README.md',
    'CHANGELOG.md',
    'docs/architecture.md',
    'docs/configuration.md',
    'docs/security.md',
  ]) {
    expect(paths).toContain(path);
  }
  expect(documents.flatMap(linksOf).length).toBeGreaterThan(10);
});

/** The targets inside the repository. */
function linksOf(document: Document): readonly string[] {
  return [...proseOf(document).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link]) => link!)
    .filter((link) => !/^\w+:/.test(link));
}

function leadsSomewhere({ path }: Document, link: string): boolean {
  const [file = '', anchor] = link.split('#');
  const target = file === '' ? join(ROOT, path) : join(ROOT, dirname(path), file);
  if (!existsSync(target)) return false;
  return anchor === undefined || anchorsIn(readFileSync(target, 'utf8')).has(anchor);
}

/** As GitHub makes them of headings. */
function anchorsIn(text: string): ReadonlySet<string> {
  const headings = [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => heading!);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    ),
  );
}
