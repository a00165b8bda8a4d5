import { resolve } from 'node:path';
import { Command } from 'commander';
import { MayflyError } from '../kernel/errors.ts';
import { missingPrivileges } from '../peer/privileges.ts';
import { PinoLog } from '../pino-log.ts';
import { runDaemon } from './daemon.ts';
import { invocationOf } from './invocation.ts';
import { Supervisor } from './supervisor.ts';
import type { Terminal } from './terminal.ts';

interface RunOptions {
  readonly config?: string;
  readonly trustDomain?: string;
  readonly dataDir?: string;
  readonly logLevel?: string;
  readonly set?: readonly string[];
}

/** `mayfly run` */
export function runCommand(terminal: Terminal): Command {
  return new Command('run')
    .description(
      'Run the agent. Flags win over MAYFLY_* variables, these over the file. SIGHUP reads all files again; SIGTERM stops.',
    )
    .option('--config <file>', 'the configuration file (default: $MAYFLY_CONFIG)')
    .option('--trust-domain <name>', 'instead of trust_domain')
    .option('--data-dir <path>', 'instead of data_dir')
    .option('--log-level <level>', 'instead of log_level: debug, info, warn or error')
    .option(
      '--set <key=value>',
      'instead of any other key, such as peer.require_pidfd=true; may be given again',
      collect,
    )
    .action(async (_options: unknown, command: Command) => {
      const { options } = invocationOf<RunOptions>(command, terminal);
      const path = options.config ?? terminal.env['MAYFLY_CONFIG'];
      if (path === undefined || path === '') {
        throw new MayflyError('INVALID_USAGE', 'no configuration is named; give --config FILE, or set MAYFLY_CONFIG');
      }
      const { trustDomain, socket, adminSocket, dataDir, logLevel, set } = options;
      const flags = { trustDomain, socket, adminSocket, dataDir, logLevel, set };
      const log = new PinoLog('info');
      await runDaemon({
        sources: { path: resolve(terminal.cwd, path), env: { ...terminal.env }, flags },
        log,
        missing: missingPrivileges(),
        supervisor: new Supervisor({ env: terminal.env, clock: terminal.clock, log }),
      });
    });
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}
