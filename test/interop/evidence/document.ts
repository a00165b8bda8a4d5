import { readFileSync, writeFileSync } from 'node:fs';
import { GROUPS, type Group } from './evidence.ts';
import { lastRun, type Run, type Seen } from './run.ts';

export const DOCUMENT: URL = new URL('../../../docs/compatibility.md', import.meta.url);

const START = '<!-- what a run of the interop suite has seen: npm run compatibility -->';
/** Above the names. */
const WHO = 'Who';
const END = '<!-- end of what was seen -->';

/** Upper ends of the ranges that a duration is told in, in seconds. */
const WITHIN = [10, 20, 60];
const TOLD = /^within (\d+) s$/;

/**
 * `document` with the tables of a run between its two marks. A duration stays where the run was quicker: where in its backoff a client
 * is when the agent is back is chance, and the document is to say the longest that was seen and not to change with every run.
 *
 * @throws when the run has not seen everything
 */
export function withTables(document: string, run: Run): string {
  if (run.lacking.length > 0) {
    throw new Error(`only a run that has seen everything makes the tables; this one lacks ${run.lacking.join(', ')}`);
  }
  const [before, tables, after] = parts(document);
  const told = durationsIn(tables);
  const sections = (Object.keys(GROUPS) as Group[]).map((group) => section(group, run.seen, told));
  return `${before}${START}\n\n${sections.join('')}${END}${after}`;
}

/** The durations that tables tell, in seconds, by {@link placeOf}. */
function durationsIn(tables: string): ReadonlyMap<string, number> {
  const durations = new Map<string, number>();
  let titles: readonly string[] = [];
  for (const line of tables.split('\n').filter((line) => line.startsWith('| '))) {
    const [who = '', ...cells] = line.slice(2, -2).split(' | ');
    if (who === WHO) titles = cells;
    for (const [index, cell] of cells.entries()) {
      const [, seconds] = TOLD.exec(cell) ?? [];
      if (seconds !== undefined) durations.set(placeOf(who, titles[index] ?? ''), Number(seconds));
    }
  }
  return durations;
}

function placeOf(who: string, title: string): string {
  return `${who}, ${title}`;
}

function parts(document: string): [before: string, tables: string, after: string] {
  const start = document.indexOf(START);
  const end = document.indexOf(END);
  if (start < 0 || end < start) throw new Error(`${DOCUMENT.pathname} has no place for the tables`);
  const tables = document.slice(start + START.length, end);
  return [document.slice(0, start), tables, document.slice(end + END.length)];
}

function section(group: Group, all: readonly Seen[], told: ReadonlyMap<string, number>): string {
  const { title, columns } = GROUPS[group];
  const own = all.filter(({ consumer }) => consumer.group === group);
  const rows = Map.groupBy(
    own.toSorted((one, other) => one.consumer.name.localeCompare(other.consumer.name, 'en')),
    ({ consumer }) => consumer.name,
  );
  if (rows.size === 0) return '';
  const table = [
    [WHO, 'Version', ...Object.values(columns)],
    ['---', '---', ...Object.values(columns).map(() => '---')],
    ...[...rows].map(([name, seen]) => [
      name,
      seen[0]?.consumer.version ?? '',
      ...Object.entries(columns).map(([column, head]) => cellOf(column, seen, told.get(placeOf(name, head)) ?? 0)),
    ]),
  ];
  const lines = table.map((cells) => `| ${cells.join(' | ')} |\n`);
  return `## ${title}\n\n${lines.join('')}\n${[...rows].map(([name, seen]) => quirks(name, seen)).join('')}`;
}

/** @param told what the document says so far, in seconds */
function cellOf(column: string, seen: readonly Seen[], told: number): string {
  const words = seen.flatMap((item) => (item.kind === 'cell' && item.column === column ? [item.says] : []));
  const times = seen.flatMap((item) =>
    item.kind === 'duration' && item.column === column ? [item.tookMs ?? NaN] : [],
  );
  if (times.length > 0) return `within ${Math.max(rangeOf(Math.max(...times)), told)} s`;
  return words.length === 0 ? '–' : [...new Set(words)].join(', ');
}

function rangeOf(ms: number): number {
  const seconds = WITHIN.find((limit) => ms <= limit * 1000);
  if (seconds === undefined) throw new Error(`${ms} ms is in no range`);
  return seconds;
}

function quirks(name: string, seen: readonly Seen[]): string {
  const texts = new Set(seen.flatMap((item) => (item.kind === 'quirk' ? [item.text] : [])));
  if (texts.size === 0) return '';
  return `### ${name}\n\n${[...texts].map((text) => `- ${text}\n`).join('')}\n`;
}

if (import.meta.main) writeFileSync(DOCUMENT, withTables(readFileSync(DOCUMENT, 'utf8'), lastRun()));
