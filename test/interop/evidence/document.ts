import { readFileSync, writeFileSync } from 'node:fs';
import { GROUPS, type Group } from './evidence.ts';
import { lastRun, type Run, type Seen } from './run.ts';

export const DOCUMENT: URL = new URL('../../../docs/compatibility.md', import.meta.url);

const START = '<!-- what a run of the interop suite has seen: npm run compatibility -->';
const END = '<!-- end of what was seen -->';

/**
 * Upper ends of the ranges that a duration is told in, in seconds. They are wide: where in its backoff a client is when the agent is
 * back is chance, and the document is not to change with every run.
 */
const WITHIN = [5, 15, 30, 60, 120];
const TOLD = /within (\d+) s/;

/** `document` with the tables of a run between its two marks. @throws when the run has not seen everything */
export function withTables(document: string, run: Run): string {
  if (run.lacking.length > 0) {
    throw new Error(`only a run that has seen everything makes the tables; this one lacks ${run.lacking.join(', ')}`);
  }
  const [before, , after] = parts(document);
  const groups = Object.keys(GROUPS) as Group[];
  return `${before}${START}\n\n${groups.map((group) => section(group, run.seen)).join('')}${END}${after}`;
}

/**
 * Whether a document says what the one of a run says. A duration may have been shorter than the document says: on another machine, or
 * at another time, it is not.
 */
export function agrees(document: string, seen: string): boolean {
  const says = document.split(TOLD);
  const saw = seen.split(TOLD);
  // What split captures stands at every second place.
  return (
    says.length === saw.length &&
    says.every((part, index) => (index % 2 === 0 ? part === saw[index] : Number(part) >= Number(saw[index])))
  );
}

function parts(document: string): [before: string, tables: string, after: string] {
  const start = document.indexOf(START);
  const end = document.indexOf(END);
  if (start < 0 || end < start) throw new Error(`${DOCUMENT.pathname} has no place for the tables`);
  const tables = document.slice(start + START.length, end);
  return [document.slice(0, start), tables, document.slice(end + END.length)];
}

function section(group: Group, all: readonly Seen[]): string {
  const { title, columns } = GROUPS[group];
  const own = all.filter(({ consumer }) => consumer.group === group);
  const rows = Map.groupBy(
    own.toSorted((one, other) => one.consumer.name.localeCompare(other.consumer.name, 'en')),
    ({ consumer }) => consumer.name,
  );
  if (rows.size === 0) return '';
  const table = [
    ['Who', 'Version', ...Object.values(columns)],
    ['---', '---', ...Object.values(columns).map(() => '---')],
    ...[...rows].map(([name, seen]) => [
      name,
      seen[0]?.consumer.version ?? '',
      ...Object.keys(columns).map((column) => cellOf(column, seen)),
    ]),
  ];
  const lines = table.map((cells) => `| ${cells.join(' | ')} |\n`);
  return `## ${title}\n\n${lines.join('')}\n${[...rows].map(([name, seen]) => quirks(name, seen)).join('')}`;
}

function cellOf(column: string, seen: readonly Seen[]): string {
  const shown = seen.filter((item) => item.kind === 'cell' && item.column === column);
  if (shown.length === 0) return '–';
  const times = shown.flatMap(({ tookMs }) => tookMs ?? []);
  if (times.length > 0) return within(Math.max(...times));
  return [...new Set(shown.flatMap((item) => (item.kind === 'cell' ? [item.says] : [])))].join(', ');
}

function within(ms: number): string {
  const seconds = WITHIN.find((limit) => ms <= limit * 1000);
  if (seconds === undefined) throw new Error(`${ms} ms is longer than any range`);
  return `within ${seconds} s`;
}

function quirks(name: string, seen: readonly Seen[]): string {
  const texts = new Set(seen.flatMap((item) => (item.kind === 'quirk' ? [item.text] : [])));
  if (texts.size === 0) return '';
  return `### ${name}\n\n${[...texts].map((text) => `- ${text}\n`).join('')}\n`;
}

if (import.meta.main) writeFileSync(DOCUMENT, withTables(readFileSync(DOCUMENT, 'utf8'), lastRun()));
