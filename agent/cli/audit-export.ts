import { Command, Option } from 'commander';
import { parseDuration } from '../kernel/duration.ts';
import { isMayflyError, MayflyError } from '../kernel/errors.ts';
import type { Since } from '../ledger/read.ts';
import { readLedger } from '../ledger/read.ts';
import type { PlaceOptions, StreamOptions } from './audit-place.ts';
import { ledgerDirectory, streamOf, withPlace } from './audit-place.ts';
import type { Invocation } from './invocation.ts';
import { invocationOf } from './invocation.ts';
import { printable } from './output.ts';
import { optionOf } from './program.ts';
import type { Terminal } from './terminal.ts';

interface ExportOptions extends PlaceOptions, StreamOptions {
  readonly since?: Since;
}

// A write a record would be most of the time that it takes.
const PIECE_CHARACTERS = 64 * 1024;
const TIME = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))?$/i;

/** `mayfly audit export` */
export function auditExportCommand(terminal: Terminal): Command {
  return withPlace(new Command('export'))
    .description(
      'Print the records as they stand in the ledger, canonical JSON, one a line: they hash to what they say.',
    )
    .addOption(
      new Option(
        '--since <from>',
        'a time (2026-01-31T10:00:00Z), how long ago (2h), or a number of a record',
      ).argParser(optionOf((text) => parseSince(text, terminal.clock.now()))),
    )
    .option('--use', 'the use stream: validations')
    .action((_options: unknown, command: Command) => exportRecords(invocationOf<ExportOptions>(command, terminal)));
}

async function exportRecords(invocation: Invocation<ExportOptions>): Promise<void> {
  const { options, output, terminal } = invocation;
  // A terminal obeys what it is sent; whoever takes the hash of a record does not read it there.
  const shown = terminal.stdout.isTTY === true ? printable : (line: string) => line;
  const directory = await ledgerDirectory(invocation);
  let piece: string[] = [];
  let length = 0;
  for (const { line } of readLedger(directory, streamOf(options), options.since)) {
    piece.push(shown(line));
    length += line.length;
    if (length < PIECE_CHARACTERS) continue;
    await output.line(piece.join('\n'));
    piece = [];
    length = 0;
  }
  if (piece.length > 0) await output.line(piece.join('\n'));
}

function parseSince(text: string, now: number): Since {
  if (/^\d{1,15}$/.test(text)) return { seq: Number(text) };
  const time = TIME.test(text) ? Date.parse(text.toUpperCase()) : Number.NaN;
  if (!Number.isNaN(time)) return { time };
  try {
    return { time: now - parseDuration(text) };
  } catch (error) {
    if (!isMayflyError(error)) throw error;
    throw new MayflyError(
      'INVALID_REQUEST',
      'write a time in full (2026-01-31T10:00:00Z) or a day, how long ago (2h), or a number of a record',
      { cause: error },
    );
  }
}
