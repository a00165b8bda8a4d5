import { Command } from 'commander';
import { ConsoleLog } from './console-log.ts';
import { runDaemon } from './daemon.ts';
import { layOutQuickstart, writeEndpoint } from './quickstart.ts';
import type { Terminal } from './terminal.ts';

/** `mayfly dev`, which is what `npm start` does. */
export function devCommand(terminal: Terminal): Command {
  return new Command('dev')
    .description(
      'Start an agent for trying out: everything is in ./.mayfly, and the user who starts it gets an identity.',
    )
    .action(async () => {
      const quickstart = layOutQuickstart(terminal.cwd, process.getuid?.() ?? 0);
      const { config, socket, adminSocket } = quickstart;
      await runDaemon({
        // The environment is for `run`: a quickstart is the same wherever it is started.
        sources: { path: config, env: {}, flags: { socket, adminSocket } },
        log: new ConsoleLog(terminal.stderr),
        started: () => {
          writeEndpoint(quickstart);
          terminal.stdout.write(greeting(socket));
        },
      });
    });
}

function greeting(socket: string): string {
  return `
Mayfly serves identities. For your own programs:

    export SPIFFE_ENDPOINT_SOCKET=unix://${socket}

Try this in a second terminal, in this folder:

    npm run -s mayfly -- fetch x509

Who gets which identity is in .mayfly/entries; edit it while the agent runs. Ctrl-C stops it.

`;
}
