import { type ChildProcessWithoutNullStreams, type SpawnOptionsWithoutStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { SystemClock } from '../../agent/kernel/clock.ts';
import { Continuity } from '../../agent/peer/continuity.ts';
import { HeldProcess } from '../../agent/peer/held-process.ts';
import { openPidfd } from '../../agent/peer/system/pidfd.ts';
import { readBootId, readStartTime } from '../../agent/peer/system/proc.ts';

/** A real process and its instance, for stages that look at processes. */
export interface Workload {
  readonly instance: HeldProcess;
  readonly pid: number;
  /** Writes a line to its standard input. */
  tell(line: string): void;
  /** Resolves with the next that it writes. */
  says(): Promise<string>;
  /** Kills it, waits until it is gone, and has its instance told. */
  stop(): Promise<void>;
}

/** What a shell runs to say that it is there, and then to wait. */
export const READY = 'echo ready; read line';

/**
 * Starts a program that has to write something once it is there.
 *
 * @param ids what it runs under by then
 */
export async function startWorkload(
  command: string,
  args: readonly string[],
  ids: { readonly uid: number; readonly gid: number },
  options: SpawnOptionsWithoutStdio = {},
): Promise<Workload> {
  const child = spawn(command, args, { ...options, stdio: 'pipe' });
  await Promise.race([said(child), once(child, 'exit').then(() => Promise.reject(new Error(`${command} has exited`)))]);
  const pid = child.pid ?? 0;
  const pidfd = openPidfd(pid);
  const startTime = readStartTime(pid) ?? '';
  const instance = new HeldProcess(
    { pid, pidfd, proof: 'start-time', ...ids },
    {
      key: `${pid}.${startTime}`,
      startTime,
      bootId: readBootId(),
      continuity: new Continuity(pid, pidfd, ids, new SystemClock()),
    },
    () => undefined,
  );
  return {
    instance,
    pid,
    tell: (line) => void child.stdin.write(`${line}\n`),
    says: () => said(child),
    async stop() {
      const exited = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined;
      child.kill('SIGKILL');
      await exited;
      instance.finish('exited');
    },
  };
}

async function said(child: ChildProcessWithoutNullStreams): Promise<string> {
  const [chunk] = await once(child.stdout, 'data');
  return String(chunk).trim();
}
