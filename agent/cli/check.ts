import { resolve } from 'node:path';
import { Command } from 'commander';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import type { Problem } from '../config/problem.ts';
import { InvalidConfig } from '../config/problem.ts';
import { isMayflyError, MayflyError } from '../kernel/errors.ts';
import { EntryFiles } from '../registry/entry-files.ts';
import type { EntrySet } from '../registry/entry-set.ts';
import { entryWarnings } from '../registry/entry-warnings.ts';
import { readBundle } from '../registry/federated-bundle.ts';
import { entryFilesOf, rulesOf } from '../registry/file-entries.ts';
import type { Invocation } from './invocation.ts';
import { invocationOf } from './invocation.ts';
import { AnsweredNo, counted } from './output.ts';
import type { Terminal } from './terminal.ts';

interface CheckOptions {
  readonly config?: string;
}

/** `mayfly check` */
export function checkCommand(terminal: Terminal): Command {
  return new Command('check')
    .description(
      'Look for mistakes in a configuration, its entries and its bundles, without starting. The exit code is 1 when there are any.',
    )
    .option('--config <file>', 'the configuration file (default: $MAYFLY_CONFIG)')
    .action((_options: unknown, command: Command) => check(invocationOf<CheckOptions>(command, terminal)));
}

async function check({ options, output, terminal }: Invocation<CheckOptions>): Promise<void> {
  const path = options.config ?? terminal.env['MAYFLY_CONFIG'];
  if (path === undefined || path === '') {
    throw new MayflyError('INVALID_USAGE', 'no configuration is named; give --config FILE, or set MAYFLY_CONFIG');
  }
  const config = await checked(loadConfig({ path: resolve(terminal.cwd, path), env: { ...terminal.env } }));
  const found = config.value === undefined ? nothingRead : await checkFiles(config.value, terminal.clock.now());
  const problems = [...config.problems, ...found.problems];
  const { warnings, entries } = found;
  output.result({ ok: problems.length === 0, problems: problems.map(problemJson), warnings, entries }, () => [
    ...problems.map((problem) => new InvalidConfig([problem]).message),
    ...warnings.map((warning) => `warning: ${warning}`),
    problems.length === 0
      ? `${path} is good: ${counted(entries, 'entry', 'entries')}, ${counted(warnings.length, 'warning')}`
      : `${path} is not good: ${counted(problems.length, 'problem')}; mend what stands above, and check again`,
  ]);
  if (problems.length > 0) throw new AnsweredNo();
}

interface Found {
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
  /** How many entries there are. */
  readonly entries: number;
}

const nothingRead: Found = { problems: [], warnings: [], entries: 0 };

async function checkFiles(config: Config, now: number): Promise<Found> {
  const files = entryFilesOf(config);
  const entries = await checked<EntrySet>(new EntryFiles().read(files.patterns, rulesOf(files)));
  const bundles = await Promise.all(config.bundles.map((bundle) => checked(readBundle(bundle), bundle.file)));
  const read = entries.value?.entries ?? [];
  return {
    problems: [...entries.problems, ...bundles.flatMap(({ problems }) => problems)],
    warnings: entryWarnings(read, { ...files, now }),
    entries: read.length,
  };
}

/** A value, or what is wrong with it: the rest is looked at all the same. */
async function checked<T>(
  loading: Promise<T>,
  source = '',
): Promise<{ readonly value?: T; readonly problems: readonly Problem[] }> {
  try {
    return { value: await loading, problems: [] };
  } catch (error) {
    if (error instanceof InvalidConfig) return { problems: error.problems };
    if (!isMayflyError(error)) throw error;
    // Its message names the file.
    const message = error.message.replace(`${source}: `, '');
    return { problems: [{ source, line: undefined, column: undefined, path: '', message }] };
  }
}

function problemJson({ source, line, column, path, message }: Problem) {
  return { source, line: line ?? null, column: column ?? null, path, message };
}
