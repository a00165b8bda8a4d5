import { clientCommands } from './cli/commands.ts';
import { runProgram } from './cli/program.ts';
import type { Terminal } from './cli/terminal.ts';
import { processTerminal } from './cli/terminal.ts';

const commands = [
  {
    name: 'dev',
    summary: 'start an agent for trying out, with everything in ./.mayfly',
    load: async (terminal: Terminal) => (await import('./cli/dev.ts')).devCommand(terminal),
  },
  {
    name: 'run',
    summary: 'start the agent with a configuration',
    load: async (terminal: Terminal) => (await import('./cli/run.ts')).runCommand(terminal),
  },
  ...clientCommands,
];

process.exitCode = await runProgram(commands, process.argv.slice(2), processTerminal());
