import { readFileSync, writeFileSync } from 'node:fs';
import type { Family } from '../../agent/serve/metrics/family.ts';
import { GROUPS } from '../../agent/serve/metrics/figures.ts';
import { MEASURED } from '../../agent/serve/metrics/measurements.ts';

/** The document whose reference is made from the metrics. */
export const DOCUMENT = new URL('../../docs/metrics.md', import.meta.url);

const START = '<!-- reference: node test/check/metrics-reference.ts -->';
const END = '<!-- end of reference -->';

/** Every metric of an agent, by its name, under the heading that it stands under. */
export const METRICS: readonly { readonly title: string; readonly families: Readonly<Record<string, Family>> }[] = [
  ...GROUPS,
  { title: 'What happens', families: MEASURED },
];

/** `document` with the reference of all metrics between its two marks. */
export function withReference(document: string): string {
  const start = document.indexOf(START);
  const end = document.indexOf(END);
  if (start < 0 || end < start) throw new Error(`${DOCUMENT.pathname} has no place for the reference`);
  const tables = METRICS.map(({ families, title }) => table(title, families));
  return `${document.slice(0, start)}${START}\n\n${tables.join('\n')}\n${document.slice(end)}`;
}

function table(title: string, families: Readonly<Record<string, Family>>): string {
  const rows = Object.entries(families).map(([name, { buckets, help, labels, type }]) => [
    `\`${name}\``,
    buckets.length === 0 ? type : `${type}, ${buckets.at(0)} to ${buckets.at(-1)}`,
    labels.map((label) => `\`${label}\``).join(', '),
    help,
  ]);
  const lines = [['Metric', 'Type', 'Labels', 'Meaning'], Array.from({ length: 4 }, () => '---'), ...rows];
  return `### ${title}\n\n${lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`;
}

if (import.meta.main) writeFileSync(DOCUMENT, withReference(readFileSync(DOCUMENT, 'utf8')));
