import { isMayflyError, messageOf } from '../kernel/errors.ts';
import type { Terminal } from './terminal.ts';

/**
 * Thrown by a command whose result, already printed, is a no: a failed check, an agent that does not serve. The exit code is 1 and
 * nothing more is said.
 */
export class AnsweredNo extends Error {
  override readonly name = 'AnsweredNo';
}

/** Prints for people, or with `--json` for programs: one JSON value on a line. Results go to stdout, all else to stderr. */
export class Output {
  readonly json: boolean;
  readonly #terminal: Terminal;

  constructor(terminal: Terminal, json: boolean) {
    this.#terminal = terminal;
    this.json = json;
  }

  /**
   * Prints one result.
   *
   * @param value what `--json` prints
   * @param lines what people read
   */
  result(value: unknown, lines: () => readonly string[]): void {
    const text = this.json ? jsonText(value) : lines().map(printable).join('\n');
    this.#terminal.stdout.write(`${text}\n`);
  }

  /**
   * Prints one line of many as it is. Resolves when whoever reads has room for more, is gone, or `signal` aborts: what is printed
   * may be larger than memory.
   */
  async line(text: string, signal?: AbortSignal): Promise<void> {
    const { stdout } = this.#terminal;
    if (stdout.write(`${text}\n`) || signal?.aborted === true) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const settle = () => resolve();
    for (const event of ['drain', 'close', 'error']) stdout.once(event, settle);
    signal?.addEventListener('abort', settle);
    await promise;
    for (const event of ['drain', 'close', 'error']) stdout.off(event, settle);
    signal?.removeEventListener('abort', settle);
  }

  /** Says something beside the result. */
  notice(message: string): void {
    this.#say({ notice: { message } }, message);
  }

  /** Says why the command failed. What is no MayflyError is a defect of the program and is shown with its stack. */
  error(error: unknown): void {
    if (isMayflyError(error)) {
      this.#say({ error: { code: error.code, message: error.message } }, error.message);
      return;
    }
    const message = `this is a defect of Mayfly, please report it: ${messageOf(error)}`;
    const stack = error instanceof Error && error.stack !== undefined ? `\n${error.stack}` : '';
    this.#say({ error: { code: 'INTERNAL', message } }, `${message}${stack}`);
  }

  #say(value: unknown, message: string): void {
    const text = this.json ? jsonText(value) : `mayfly: ${message.split('\n').map(printable).join('\n')}`;
    this.#terminal.stderr.write(`${text}\n`);
  }
}

/** The numbers that stand for control characters are JSON's own: programs read the same value. */
function jsonText(value: unknown): string {
  return printable(JSON.stringify(value));
}

/** Shows control characters by their number: hints, subjects and claims come from others, and a terminal obeys what it is sent. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- the control characters are what is replaced
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/** A value with its name; the name is empty where the value goes on with the one before. */
export type FieldRow = readonly [name: string, value: string | undefined];

/** Lines with a name before each value, the values in one column. A value that is missing or empty has no line. */
export function fields(rows: readonly FieldRow[], indent = '  '): string[] {
  const told = rows.filter(([, value]) => value !== undefined && value !== '');
  const width = Math.max(0, ...told.map(([name]) => name.length));
  return told.map(([name, value]) => `${indent}${name.padEnd(width)}  ${value}`);
}

/** A table under its column heads. */
export function table(heads: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [heads, ...rows];
  const widths = heads.map((_, column) => Math.max(...all.map((row) => printable(row[column] ?? '').length)));
  return all.map((row) =>
    row
      .map((cell, column) => printable(cell).padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** A number of things for people: `1 entry`, `2 entries`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** A size for people: `412 bytes`, `1.2 KiB`, `100 MiB`. */
export function byteText(bytes: number | bigint): string {
  const count = Number(bytes);
  if (count < 1024) return `${count} bytes`;
  const [size, unit] = count < 1024 ** 2 ? [count / 1024, 'KiB'] : [count / 1024 ** 2, 'MiB'];
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${unit}`;
}
