import { MayflyError } from '../kernel/errors.ts';

/** Keys and indexes from the root of a document to a value. */
export type DocumentPath = readonly PropertyKey[];

/** Where something was configured. */
export interface Place {
  /** The file; or the environment variable or flag that overrode it. */
  readonly source: string;
  /** From 1; `undefined` when it concerns the file as a whole, or no file. */
  readonly line: number | undefined;
  readonly column: number | undefined;
}

/** One thing that is wrong in what somebody configured. */
export interface Problem extends Place {
  /** `peer.max_connections`, `entries[2].hint`; empty for the document as a whole. */
  readonly path: string;
  /** What was found and what is allowed, without place and path. */
  readonly message: string;
}

/** Values that are right by themselves and cannot go together. */
export interface Contradiction {
  /** The keys that it is about; the first one that somebody wrote is the one to point at. */
  readonly paths: readonly DocumentPath[];
  readonly message: string;
}

// Whoever has mended twenty runs it again; a log line has to end somewhere.
const MOST_TOLD = 20;

/** `INVALID_CONFIG` with everything that is wrong; its message has a line for each of the first twenty. */
export class InvalidConfig extends MayflyError {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[], options?: { cause?: unknown }) {
    const ordered = inReadingOrder(problems);
    const told = ordered.slice(0, MOST_TOLD).map(sentence);
    const left = ordered.length - told.length;
    super('INVALID_CONFIG', [...told, ...(left > 0 ? [`and ${left} more`] : [])].join('\n'), options);
    this.problems = ordered;
  }
}

/** The whole of a file is wrong: it is missing, too large or no text. */
export function unusableFile(file: string, message: string, cause?: unknown): InvalidConfig {
  return new InvalidConfig([{ source: file, line: undefined, column: undefined, path: '', message }], { cause });
}

/** `peer.max_connections`, `entries[2].hint`. */
export function formatPath(path: DocumentPath): string {
  return path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('')
    .replace(/^\./, '');
}

const MOST_SHOWN = 80;

/** What was found, short and escaped: it goes to terminals and logs. */
export function show(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value !== 'string') return `${value as number | boolean | bigint}`;
  return JSON.stringify((value.length > MOST_SHOWN ? `${value.slice(0, MOST_SHOWN)}…` : value).toWellFormed());
}

/** By line within each file; the files as they came. */
function inReadingOrder(problems: readonly Problem[]): readonly Problem[] {
  return [...Map.groupBy(problems, ({ source }) => source).values()].flatMap((ofSource) =>
    ofSource.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0)),
  );
}

function sentence({ source, line, column, path, message }: Problem): string {
  const place = line === undefined ? source : `${source}:${line}:${column ?? 1}`;
  const isNamed = path === '' || message.startsWith(`${path} `) || source.endsWith(` ${path}`);
  return (isNamed ? [place, message] : [place, path, message]).join(': ');
}
