import { Command, Option } from 'commander';
import { MayflyError } from '../kernel/errors.ts';
import { sleep } from '../kernel/sleep.ts';
import type { ReadRecord } from '../ledger/read.ts';
import { readLedger } from '../ledger/read.ts';
import type { Stream } from '../ledger/segments.ts';
import { segmentsOf } from '../ledger/segments.ts';
import type { PlaceOptions, StreamOptions } from './audit-place.ts';
import { ledgerDirectory, streamOf, withPlace } from './audit-place.ts';
import type { Invocation } from './invocation.ts';
import { invocationOf } from './invocation.ts';
import { printable } from './output.ts';
import { optionOf } from './program.ts';
import { recordLine } from './record-text.ts';
import type { Terminal } from './terminal.ts';

interface TailOptions extends PlaceOptions, StreamOptions {
  readonly lines: number;
  readonly follow?: true;
}

const LINES = 20;
const MAX_LINES = 100_000;
const LOOK_AGAIN_MS = 500;

/** `mayfly audit head` */
export function auditHeadCommand(terminal: Terminal): Command {
  return withPlace(new Command('head'))
    .description(
      "Print SEQ:HASH of the newest record. Kept elsewhere, and given to 'mayfly audit verify --head', it shows later that nothing up to there is missing.",
    )
    .option('--use', 'of the use stream: validations')
    .action((_options: unknown, command: Command) => printHead(invocationOf(command, terminal)));
}

async function printHead(invocation: Invocation<PlaceOptions & StreamOptions>): Promise<void> {
  const directory = await ledgerDirectory(invocation);
  const stream = streamOf(invocation.options);
  const record = lastOf(directory, stream, 1)[0]?.record;
  if (record === undefined)
    throw new MayflyError('NOT_FOUND', `the ${stream} stream in ${directory} has no record yet`);
  const head = `${record.seq}:${record._hash}`;
  invocation.output.result({ stream, head, time: record.time }, () => [head]);
}

/** `mayfly audit tail` */
export function auditTailCommand(terminal: Terminal): Command {
  return withPlace(new Command('tail'))
    .description('Print the newest records, one a line; with --json as they stand in the ledger.')
    .addOption(
      new Option('-n, --lines <number>', 'how many').argParser(optionOf(parseLines)).default(LINES, String(LINES)),
    )
    .option('--follow', 'go on with each new one until interrupted')
    .option('--use', 'of the use stream: validations')
    .action((_options: unknown, command: Command) => tail(invocationOf<TailOptions>(command, terminal)));
}

async function tail(invocation: Invocation<TailOptions>): Promise<void> {
  const { options, terminal } = invocation;
  const directory = await ledgerDirectory(invocation);
  const stream = streamOf(options);
  using interruption = terminal.interruption();
  const { signal } = interruption;
  const newest = lastOf(directory, stream, Math.max(options.lines, 1));
  let seq = newest.at(-1)?.record.seq ?? 0;
  await print(invocation, newest.slice(newest.length - Math.min(options.lines, newest.length)), signal);
  let extent = extentOf(directory, stream);
  while (options.follow === true && !signal.aborted) {
    await sleep(LOOK_AGAIN_MS, terminal.clock, signal);
    const now = extentOf(directory, stream);
    if (now === extent) continue;
    extent = now;
    seq = await print(invocation, readLedger(directory, stream, { seq: seq + 1 }), signal, seq);
  }
}

/** @returns the number of the last record that was printed, or `seq` where there was none */
async function print(
  { output }: Invocation,
  records: Iterable<ReadRecord>,
  signal: AbortSignal,
  seq = 0,
): Promise<number> {
  let last = seq;
  for (const { record, line } of records) {
    if (signal.aborted) break;
    await output.line(printable(output.json ? line : recordLine(record)), signal);
    last = record.seq;
  }
  return last;
}

/** The newest records, oldest first. No more of the files is read than they are in. */
function lastOf(directory: string, stream: Stream, count: number): readonly ReadRecord[] {
  const newest = segmentsOf(directory, stream).at(-1);
  if (newest === undefined) return [];
  const records: ReadRecord[] = [];
  for (const record of readLedger(directory, stream, { seq: Math.max(1, newest.firstSeq - count) })) {
    records.push(record);
    if (records.length >= 2 * count) records.splice(0, count);
  }
  return records.slice(-count);
}

/** Differs as soon as something was written: to look at it costs nothing. */
function extentOf(directory: string, stream: Stream): string {
  const newest = segmentsOf(directory, stream).at(-1);
  return `${newest?.name} ${newest?.bytes}`;
}

function parseLines(text: string): number {
  const lines = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (!(lines <= MAX_LINES)) throw new MayflyError('INVALID_REQUEST', `write a number up to ${MAX_LINES}`);
  return lines;
}
