import { type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { inject } from 'vitest';
import { commandOf } from './equipment.ts';

const { openssl } = inject('equipment');
const run = promisify(execFile);

/** What `openssl` says. @throws when it fails, with `stdout` and `stderr` */
export async function tell(...args: string[]): Promise<string> {
  return (await run(commandOf(openssl)[0], args, { timeout: 20_000 })).stdout;
}

/** An `openssl` that runs for a while. */
export class OpensslProcess {
  readonly process: ChildProcessWithoutNullStreams;
  readonly ended: Promise<unknown>;
  output = '';

  constructor(command: string, args: readonly string[]) {
    this.process = spawn(commandOf(openssl)[0], [command, ...args], { timeout: 20_000 });
    this.ended = once(this.process, 'close');
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
      });
    }
    // One that ends early need not have read what it was sent.
    this.process.stdin.on('error', () => undefined);
  }

  /** @throws when it ends without having said that */
  async says(what: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = what.exec(this.output);
      if (match !== null) return match;
      const ended = await Promise.race([
        once(this.process.stdout, 'data').then(() => false),
        this.ended.then(() => true),
      ]);
      if (ended) throw new Error(`it has ended without ${String(what)}:\n${this.output}`);
    }
  }
}
