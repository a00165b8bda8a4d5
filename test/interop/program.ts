import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { eventually } from '../support/json-lines.ts';

const PATIENCE_MS = 20_000;

/** A program that runs until it is told to end, and prints lines. */
export class Program implements AsyncDisposable {
  /** What it has printed, oldest first. */
  readonly lines: string[] = [];
  readonly #child: ChildProcess;
  /** Its exit code, `null` when a signal ended it; all that it printed has been read by then. */
  readonly ended: Promise<number | null>;
  #over = false;
  #stderr = '';

  constructor(
    [program, ...args]: readonly [string, ...string[]],
    options: { readonly gid?: number; readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
  ) {
    const { env, ...rest } = options;
    const child = spawn(program, args, {
      cwd: '/',
      ...rest,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    createInterface({ input: child.stdout }).on('line', (line) => this.lines.push(line));
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    this.#child = child;
    this.ended = new Promise((resolve) => {
      const end = (code: number | null) => {
        this.#over = true;
        resolve(code);
      };
      child.once('error', (error) => {
        this.#stderr += error.message;
        end(null);
      });
      child.once('close', end);
    });
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** The first line that is so, once it is there. @param after how many lines do not count */
  says(what: RegExp, after = 0): Promise<RegExpExecArray> {
    return this.until(String(what), () => {
      const line = this.lines.slice(after).find((text) => what.test(text));
      return line === undefined ? undefined : (what.exec(line) ?? undefined);
    });
  }

  /** What is found, once it is. @throws when the program ends instead, with all that it said */
  until<T>(what: string, find: () => Promise<T | undefined> | T | undefined, ms = PATIENCE_MS): Promise<T> {
    return eventually(
      `${what} of ${this.#child.spawnargs.join(' ')}`,
      async () => {
        const over = this.#over;
        const found = await find();
        if (found !== undefined) return found;
        if (over) throw new Error(`it has ended without ${what}:\n${this.lines.join('\n')}\n${this.#stderr}`);
        return undefined;
      },
      ms,
    );
  }

  /** Asks it to end, and waits until it has. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.#child.kill(signal);
    await this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#over) await this.stop('SIGKILL');
  }
}
