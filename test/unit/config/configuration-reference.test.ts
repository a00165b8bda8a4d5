import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { configKeys, configSections } from '../../../agent/config/keys.ts';
import { configSchema } from '../../../agent/config/schema.ts';
import { parseDocument } from '../../../agent/config/yaml-document.ts';
import { DOCUMENT, withReference } from '../../check/configuration-reference.ts';

const text = readFileSync(DOCUMENT, 'utf8');

describe('docs/configuration.md', () => {
  test('has the reference that the schema makes: run node test/check/configuration-reference.ts', () => {
    expect(text).toBe(withReference(text));
  });

  test('has every key, once, with its default', () => {
    for (const { name, path, default: otherwise } of configKeys) {
      const rows = sectionOf(path.slice(0, -1)).filter((line) => line.startsWith(`| \`${path.at(-1)}\` |`));
      expect(rows, name).toHaveLength(1);
      if (typeof otherwise === 'string') expect(rows[0], name).toContain(`| \`${otherwise || '""'}\` |`);
    }
  });

  test('names no key that does not exist', () => {
    const known = new Set([...configKeys.map(({ name }) => name), ...configSections]);
    const sections = configSections.map((section) => section.split('.')[0]!).join('|');
    const named = [...text.matchAll(new RegExp(`\`((?:${sections})\\.[a-z0-9_.]+)\``, 'g'))].map(([, name]) => name!);
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter((name) => !known.has(name) && !name.startsWith('config.'))).toEqual([]);
  });

  test('has examples that are accepted', () => {
    const examples = [...text.matchAll(/^```yaml\n(.*?)^```/gms)].map(([, example]) => example!);
    expect(examples.length).toBeGreaterThan(0);
    for (const example of examples) parseDocument('example', example, configSchema);
  });
});

function sectionOf(section: readonly string[]): readonly string[] {
  const heading = section.length === 0 ? '### Top level' : `### \`${section.join('.')}\``;
  const lines = text.split('\n');
  const start = lines.indexOf(heading);
  expect(start, heading).toBeGreaterThan(0);
  const end = lines.findIndex((line, index) => index > start && line.startsWith('#'));
  return lines.slice(start, end);
}
