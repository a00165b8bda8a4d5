import type { Agent } from '../agent.ts';
import { startAgent } from '../agent.ts';
import type { Config } from '../config/config.ts';
import type { ConfigSources } from '../config/load.ts';
import { reloadableConfig, reloadOnChange } from '../config/reload.ts';
import { SystemClock } from '../kernel/clock.ts';
import { asError, messageOf } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { MissingPrivilege } from '../peer/privileges.ts';
import { exitNow, forbidDumps } from '../peer/system/hardening.ts';
import { releaseStartUpMemory } from './start-up-memory.ts';
import type { Supervisor } from './supervisor.ts';

export type LogLevel = Config['logLevel'];

/** How a daemon is run. */
export interface DaemonOptions {
  readonly sources: ConfigSources;
  readonly log: Log & { setLevel(level: LogLevel): void };
  /** What it may not do although it should be able to. */
  readonly missing?: readonly MissingPrivilege[];
  /** Who has started the agent and wants to hear of it. */
  readonly supervisor?: Supervisor;
  /** Called once, when the sockets are there. */
  readonly started?: (config: Config) => void;
}

// A supervisor waits for five seconds and more; nobody waits for longer than he must.
const STOP_WITHIN_MS = 4500;
const SERVING = 'serving identities';

/**
 * Runs the agent in this process until it is told to end: SIGTERM and SIGINT stop it in order, also while it starts; SIGHUP reads its
 * files again. What nobody has caught is a crash: a line in the log and the end, at once.
 *
 * @throws MayflyError when the agent cannot start
 */
export async function runDaemon({ sources, log, missing = [], supervisor, started }: DaemonOptions): Promise<void> {
  const crash = (error: unknown) => {
    log.error('agent.crashed', `the agent cannot go on: ${messageOf(error)}`, { error: asError(error) });
    // A thread may sit in a system call: nothing here waits for it.
    exitNow(1);
  };
  process.on('uncaughtException', crash);
  process.on('unhandledRejection', crash);
  forbidDumps();
  const end = toldToEnd(log);
  let agent: Agent | undefined;
  // A start reads all files anyway, and must not be ended by what only asks for that.
  process.on('SIGHUP', () => void (agent !== undefined && reload(agent, log, supervisor)));

  const clock = new SystemClock();
  const config = reloadableConfig(sources, { clock, log });
  const current = await config.start();
  log.setLevel(current.logLevel);
  agent = await startAgent({
    config,
    clock,
    log,
    warnings: missing.map(({ message }) => message),
    onReload: (changed) => log.setLevel(changed.logLevel),
  });
  for (const { name, message } of missing) log.warn('privilege.missing', message, { privilege: name });
  const watcher = reloadOnChange(config, [current.file], { clock, log });
  if (!end.told) {
    supervisor?.ready(SERVING);
    started?.(current);
  }
  const release = releaseStartUpMemory(clock);

  await end.asked;
  supervisor?.stopping();
  release.cancel();
  await watcher.close();
  await agent.stop();
  await config.close();
  // Last: its watchdog waits for the end of a stop as well.
  supervisor?.close();
}

async function reload(agent: Agent, log: Log, supervisor: Supervisor | undefined): Promise<void> {
  supervisor?.reloading();
  const failed = await agent.reload();
  log.info('agent.reloaded', failed.length === 0 ? 'all files were read again' : 'some files could not be read again');
  // It serves on with what it had: to a service manager that is no failure.
  supervisor?.ready(
    failed.length === 0 ? SERVING : `${SERVING}; some files could not be read again, see mayfly status`,
  );
}

/** Listens to who tells the agent to end, and holds it to its time from then on: a start that hangs must not outlast it either. */
function toldToEnd(log: Log): { readonly asked: Promise<void>; readonly told: boolean } {
  const { promise, resolve } = Promise.withResolvers<void>();
  let told = false;
  const tell = () => {
    // A second signal, such as npm's after the terminal's own, must not cut the stop short.
    if (told) return;
    told = true;
    const force = () => {
      log.error('agent.stop_forced', `the agent did not stop within ${STOP_WITHIN_MS} ms; it is ended`);
      exitNow(0);
    };
    // Whatever it is that stays behind, it is not to be waited for.
    setTimeout(force, STOP_WITHIN_MS).unref();
    resolve();
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, tell);
  return {
    asked: promise,
    get told() {
      return told;
    },
  };
}
