import { readFileSync, writeFileSync } from 'node:fs';
import { type ConfigKey, configKeys } from '../../agent/config/keys.ts';
import { variableOf } from '../../agent/config/overrides.ts';

/** The document whose reference is made from the schema. */
export const DOCUMENT = new URL('../../docs/configuration.md', import.meta.url);

const START = '<!-- reference: node test/check/configuration-reference.ts -->';
const END = '<!-- end of reference -->';

/** `document` with the reference of all keys between its two marks. */
export function withReference(document: string): string {
  const start = document.indexOf(START);
  const end = document.indexOf(END);
  if (start < 0 || end < start) throw new Error(`${DOCUMENT.pathname} has no place for the reference`);
  return `${document.slice(0, start)}${START}\n\n${reference()}\n${document.slice(end)}`;
}

function reference(): string {
  const sections = Map.groupBy(configKeys, ({ path }) => path.slice(0, -1).join('.'));
  return [...sections].map(([section, keys]) => table(section, keys)).join('\n');
}

function table(section: string, keys: readonly ConfigKey[]): string {
  const rows = keys.map((key) => [
    `\`${key.path.at(-1)}\``,
    key.form,
    key.default === undefined ? 'required' : `\`${written(key.default)}\``,
    key.change,
    key.takes === 'list' ? '' : `\`${variableOf(key)}\``,
    key.says,
  ]);
  const heading = section === '' ? '### Top level' : `### \`${section}\``;
  const lines = [
    ['Key', 'Value', 'Default', 'Change', 'Variable', 'Meaning'],
    Array.from({ length: 6 }, () => '---'),
    ...rows,
  ];
  return `${heading}\n\n${lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`;
}

/** A default as it stands in a file. */
function written(value: unknown): string {
  if (value === '') return '""';
  return Array.isArray(value) ? `[${value.length === 0 ? '' : ` ${value.join(', ')} `}]` : String(value);
}

if (import.meta.main) writeFileSync(DOCUMENT, withReference(readFileSync(DOCUMENT, 'utf8')));
