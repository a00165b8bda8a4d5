import { Command } from 'commander';
import { Admin } from '../gen/admin_pb.js';
import { isMayflyError, MayflyError } from '../kernel/errors.ts';
import { connectAdmin } from './client.ts';
import type { Invocation } from './invocation.ts';
import { invocationOf } from './invocation.ts';
import { printable } from './output.ts';
import type { Terminal } from './terminal.ts';

interface EventsOptions {
  readonly follow?: true;
  readonly recent?: true;
}

/** `mayfly events` */
export function eventsCommand(terminal: Terminal): Command {
  return new Command('events')
    .description(
      'Print what the agent decides as JSON lines, the records of its ledger, for other programs. Prints the recent ones and ends; with --follow those from now on, until interrupted. Ends with exit code 1 when the agent goes away.',
    )
    .option('--follow', 'go on with each new one until interrupted')
    .option('--recent', 'with --follow: begin with the recent ones')
    .action((_options: unknown, command: Command) => printEvents(invocationOf<EventsOptions>(command, terminal)));
}

async function printEvents(invocation: Invocation<EventsOptions>): Promise<void> {
  const { options, output, terminal } = invocation;
  const follow = options.follow === true;
  const recent = !follow || options.recent === true;
  using interruption = terminal.interruption();
  const { signal } = interruption;
  using client = connectAdmin(invocation);
  const method = Admin.method.watchEvents;
  const request = { recent, follow };
  const answers = follow ? client.quietStream(method, request, signal) : client.all(method, request, signal);
  try {
    for await (const { record, lost } of answers) {
      if (lost > 0n) output.notice(lossText(lost));
      // The numbers that stand for control characters are JSON's own: the value stays the same.
      if (record !== '') await output.line(printable(record), signal);
    }
  } catch (error) {
    throw follow && isMayflyError(error) ? ended(error) : error;
  }
}

function lossText(lost: bigint): string {
  const what = lost === 1n ? '1 event is' : `${lost} events are`;
  return `${what} missing here, they came faster than they were read; the ledger has them: mayfly audit export --since SEQ`;
}

function ended(error: MayflyError): MayflyError {
  return new MayflyError(error.code, `no further events: ${error.message}`, { cause: error });
}
