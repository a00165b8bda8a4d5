#!/usr/bin/env node
import { keepCompiledCode } from './cli/compile-cache.ts';
import type { Terminal } from './cli/terminal.ts';

// Before anything else is loaded, which is what it is for.
keepCompiledCode();

const [{ clientCommands }, { runProgram }, { processTerminal }] = await Promise.all([
  import('./cli/commands.ts'),
  import('./cli/program.ts'),
  import('./cli/terminal.ts'),
]);

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
