import type { Command } from 'commander';
import { Output } from './output.ts';
import type { Terminal } from './terminal.ts';

/** The options that every command has. */
export interface GlobalOptions {
  readonly socket?: string;
  readonly adminSocket?: string;
  readonly json?: boolean;
  /** Milliseconds; absent where the command's own is meant. */
  readonly timeout?: number;
}

/** One command as it was called. */
export interface Invocation<Own = unknown> {
  readonly terminal: Terminal;
  readonly output: Output;
  readonly options: GlobalOptions & Own;
}

/** What a command's action works with: its options together with the program's. */
export function invocationOf<Own>(command: Command, terminal: Terminal): Invocation<Own> {
  const options = command.optsWithGlobals<GlobalOptions & Own>();
  return { terminal, output: new Output(terminal, options.json === true), options };
}
