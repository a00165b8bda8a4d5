import { spawn } from 'node:child_process';
import { formatDuration } from '../kernel/duration.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Terminal } from './terminal.ts';

// The files stay as they are while a hook reads them, so one that never ends would keep a renewed certificate from everybody.
const LIMIT_MS = 60_000;

/** A command line that is run by `/bin/sh` after each update, one at a time. */
export class Hook {
  readonly #command: string;
  readonly #terminal: Terminal;

  constructor(command: string, terminal: Terminal) {
    this.#command = command;
    this.#terminal = terminal;
  }

  /**
   * Runs it to its end: at most a minute, or until `signal` aborts; then it is killed with all that it started. What it prints goes to
   * stderr, since stdout is for results.
   *
   * @returns a sentence when it failed
   */
  async run(variables: Readonly<Record<string, string>>, signal: AbortSignal): Promise<string | undefined> {
    if (signal.aborted) return undefined;
    // A process group of its own, so that it can be ended whole.
    const child = spawn('/bin/sh', ['-c', this.#command], {
      env: { ...this.#terminal.env, ...variables },
      cwd: this.#terminal.cwd,
      // Handed over, not piped: a daemon that it leaves behind would keep a pipe, and this process, open.
      stdio: ['ignore', 2, 2],
      detached: true,
    });
    let overdue = false;
    const kill = () => {
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) killGroup(child.pid);
    };
    const limit = this.#terminal.clock.after(LIMIT_MS, () => {
      overdue = true;
      kill();
    });
    signal.addEventListener('abort', kill);
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    child.once('error', (error) => resolve(`could not be started: ${messageOf(error)}`));
    child.once('exit', (code, by) =>
      resolve(code === 0 ? undefined : by === null ? `exited with ${code}` : `ended by ${by}`),
    );
    const failure = await promise;
    limit.cancel();
    signal.removeEventListener('abort', kill);
    if (failure === undefined || signal.aborted) return undefined;
    return `--exec ${overdue ? `took longer than ${formatDuration(LIMIT_MS)} and was killed` : failure}`;
  }
}

function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL');
  } catch {
    // ESRCH: it ended by itself in this moment.
  }
}
