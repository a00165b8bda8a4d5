import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '../kernel/duration.ts';
import { isMayflyError, MayflyError } from '../kernel/errors.ts';
import { AnsweredNo, Output } from './output.ts';
import type { Terminal } from './terminal.ts';

/** A command that is loaded only when it is called, so that each starts with no more code than it needs. */
export interface CommandRow {
  readonly name: string;
  /** Its line in the list of commands. */
  readonly summary: string;
  readonly load: (terminal: Terminal) => Promise<Command>;
}

/** Done; refused or failed; called wrongly. */
type ExitCode = 0 | 1 | 2;

/** The arguments were wrong; `command` is where to read what is right. */
class WrongUsage extends MayflyError {
  constructor(message: string, command: string) {
    super('INVALID_USAGE', `${message}; see ${command} --help`);
  }
}

/**
 * Runs one command. Never throws: what goes wrong is said on `terminal.stderr`.
 *
 * @param argv the arguments alone, without the program's own path
 */
export async function runProgram(
  rows: readonly CommandRow[],
  argv: readonly string[],
  terminal: Terminal,
): Promise<ExitCode> {
  // The arguments may be what is wrong, and still have to say how to be answered.
  const output = new Output(terminal, argv.includes('--json'));
  try {
    const args = argv[0] === '--version' ? ['version', ...argv.slice(1)] : argv;
    const program = await programFor(rows, args, terminal, output.json);
    await program.parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (error instanceof AnsweredNo) return 1;
    output.error(error);
    return isMayflyError(error, 'INVALID_USAGE') ? 2 : 1;
  }
}

/** Turns a parser of the kernel into one for an option's value. */
export function optionOf<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw isMayflyError(error) ? new InvalidArgumentError(error.message) : error;
    }
  };
}

async function programFor(
  rows: readonly CommandRow[],
  argv: readonly string[],
  terminal: Terminal,
  json: boolean,
): Promise<Command> {
  const called = calledCommand(argv);
  const program = root(terminal, json);
  for (const { name, summary, load } of rows) {
    const command = name === called ? await load(terminal) : new Command(name).description(summary);
    program.addCommand(command.summary(summary));
  }
  prepare(program, json);
  return program;
}

/** The name of the command among the arguments: the first that is neither an option of the program nor the value of one. */
function calledCommand(argv: readonly string[]): string | undefined {
  try {
    const [first, second] = silent(globalOptions(new Command()))
      .exitOverride()
      .parseOptions([...argv]).operands;
    return first === 'help' ? second : first;
  } catch (error) {
    // The program itself is about to meet the same mistake.
    if (error instanceof CommanderError) return undefined;
    throw error;
  }
}

function root(terminal: Terminal, json: boolean): Command {
  return silent(globalOptions(new Command('mayfly')))
    .description('Identities for processes: the SPIFFE Workload API from a node agent.')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => void terminal.stdout.write(text),
      // Help where a command is missing; a program reads none.
      writeErr: (text) => void (json || terminal.stderr.write(text)),
    })
    .addHelpText('after', '\nExit codes: 0 done, 1 refused or failed, 2 wrong usage.');
}

/** Says no errors by itself: runProgram does, in the form that was asked for. */
function silent(command: Command): Command {
  return command.configureOutput({ outputError: () => {} });
}

export function globalOptions(command: Command): Command {
  return command
    .option(
      '--socket <path>',
      "the agent's socket (default: $SPIFFE_ENDPOINT_SOCKET, then ./.mayfly, then /run/mayfly)",
    )
    .option('--admin-socket <path>', "the agent's admin socket (default: found in the same way)")
    .option('--json', 'print one JSON value a line, errors too')
    .addOption(
      new Option('--timeout <duration>', 'how long to wait for an answer (default: 10s)').argParser(
        optionOf(positiveDuration),
      ),
    );
}

function positiveDuration(text: string): number {
  const ms = parseDuration(text);
  if (ms === 0) throw new MayflyError('INVALID_DURATION', 'nothing is answered in no time; write 10s');
  return ms;
}

/** What commander gives to subcommands only where it makes them itself. */
function prepare(command: Command, json: boolean, path = 'mayfly'): void {
  command.exitOverride((error) => {
    const missing = error.code === 'commander.help';
    // Help was printed: where it was asked for that is the result, where a command is missing it is the error.
    if (error.exitCode === 0 || (missing && !json)) throw error;
    throw new WrongUsage(missing ? 'a command is missing' : sentence(error), path);
  });
  for (const child of command.commands) {
    child.copyInheritedSettings(command);
    prepare(child, json, `${path} ${child.name()}`);
  }
}

/** `error: unknown option '--sokcet'` and, on a second line, `(Did you mean --socket?)`. */
function sentence({ code, message }: CommanderError): string {
  const line = message
    .replace(/^error: /, '')
    .replaceAll(/\s*\n\s*/g, ' ')
    .replace(/\.$/, '');
  // What was too much is not repeated: it may be a token.
  if (code === 'commander.excessArguments') return line.replace(/(but got \d+):.*$/, '$1');
  return code === 'commander.invalidArgument' ? invalidValue(line) : line;
}

/** `option '--pid <number>' argument 'x' is invalid. REASON`, whose reason says what was found: `--pid: REASON`. */
function invalidValue(line: string): string {
  const [, flag, found = '', reason = ''] =
    /^option '(?:-\w, )?(--[\w-]+)[^']*' argument '(.*)' is invalid\. (.*)$/.exec(line) ??
    /^command-argument value '()(.*)' is invalid for argument '[\w-]+'\. (.*)$/.exec(line) ??
    [];
  if (flag === undefined) return line;
  const sentence = reason.replace(/^Allowed choices are /, `${JSON.stringify(found)} is none of `);
  return flag === '' ? sentence : `${flag}: ${sentence}`;
}
