import { Readable, Writable } from 'node:stream';
import { clientCommands } from '../../../agent/cli/commands.ts';
import { runProgram } from '../../../agent/cli/program.ts';
import type { Terminal } from '../../../agent/cli/terminal.ts';
import type { Clock } from '../../../agent/kernel/clock.ts';
import { SystemClock } from '../../../agent/kernel/clock.ts';

export interface Surroundings {
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  readonly stdin?: string;
  readonly clock?: Clock;
  /** Makes the output a terminal of this size. */
  readonly screen?: { readonly rows: number; readonly columns: number };
}

/** What a command has said and how it ended. */
export interface Transcript {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that runs until it is interrupted. */
export interface RunningCommand {
  readonly terminal: TestTerminal;
  readonly done: Promise<Transcript>;
  /** As Ctrl-C does. */
  interrupt(): Promise<Transcript>;
}

/** A terminal whose every word can be read. It is in no agent's directory unless a test says so. */
export class TestTerminal implements Terminal {
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly stdin: Readable;
  readonly clock: Clock;
  readonly random = () => 0.5;
  readonly #interrupt = new AbortController();
  readonly #changed = new EventTarget();
  readonly #out: string[] = [];
  readonly #err: string[] = [];
  readonly stdout: Terminal['stdout'];
  readonly stderr = this.#into(this.#err);
  /** How many commands wait to be interrupted. */
  interruptions = 0;

  constructor({ env = {}, cwd = '/nonexistent', stdin = '', clock = new SystemClock(), screen }: Surroundings = {}) {
    this.env = env;
    this.cwd = cwd;
    this.stdin = Readable.from([Buffer.from(stdin)]);
    this.clock = clock;
    this.stdout = Object.assign(this.#into(this.#out), screen && { isTTY: true, ...screen });
  }

  get out(): string {
    return this.#out.join('');
  }

  get err(): string {
    return this.#err.join('');
  }

  interruption() {
    this.interruptions += 1;
    return {
      signal: this.#interrupt.signal,
      [Symbol.dispose]: () => {
        this.interruptions -= 1;
      },
    };
  }

  interrupt(): void {
    this.#interrupt.abort();
  }

  /** Resolves once what was said fulfils `condition`. */
  async until(condition: (terminal: TestTerminal) => boolean): Promise<void> {
    const deadline = AbortSignal.timeout(8000);
    while (!condition(this)) {
      await new Promise<void>((resolve, reject) => {
        const late = () => reject(new Error(`not said in time; stdout: ${this.out} stderr: ${this.err}`));
        deadline.addEventListener('abort', late);
        this.#changed.addEventListener(
          'said',
          () => {
            deadline.removeEventListener('abort', late);
            resolve();
          },
          { once: true },
        );
      });
    }
  }

  #into(lines: string[]): Writable {
    return new Writable({
      decodeStrings: false,
      write: (text, _encoding, done) => {
        lines.push(String(text));
        this.#changed.dispatchEvent(new Event('said'));
        done();
      },
    });
  }
}

/** Runs a command in this process to its end. */
export function run(argv: readonly string[], surroundings: Surroundings = {}): Promise<Transcript> {
  return start(argv, surroundings).done;
}

export function start(argv: readonly string[], surroundings: Surroundings = {}): RunningCommand {
  const terminal = new TestTerminal(surroundings);
  const done = runProgram(clientCommands, argv, terminal).then((code) => ({
    code,
    stdout: terminal.out,
    stderr: terminal.err,
  }));
  return {
    terminal,
    done,
    interrupt() {
      terminal.interrupt();
      return done;
    },
  };
}

/** The one JSON value, on one line, that a command has printed. */
export function jsonOf(text: string): unknown {
  const lines = text.split('\n');
  if (lines.length !== 2 || lines[1] !== '') throw new Error(`not one line: ${text}`);
  return JSON.parse(lines[0]!);
}
