import type { ChildProcess } from 'node:child_process';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';

/** An agent that serves the Workload API, ours or another, with one entry for the user who runs the bench. */
export interface AgentUnderTest {
  readonly name: string;
  readonly socket: string;
  readonly pid: number;
  /** From the start of its process to the first X.509-SVID in a client's hands, that client's own start included, in milliseconds. */
  readonly startMs: number;
  /**
   * Changes the one entry, so that every stream must be told.
   *
   * @returns when the change was made, in milliseconds since the epoch
   */
  changeEntry(round: number): number;
  stop(): Promise<void>;
}

/** Starts a process and waits until `serves` says that it does. */
export async function startUntil(
  serves: () => Promise<boolean>,
  command: string,
  args: readonly string[],
): Promise<{ child: ChildProcess; startMs: number }> {
  const began = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  // Whatever ends the bench must not leave an agent behind.
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
  let log = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    log = (log + chunk.toString()).slice(-4000);
  });
  while (!(await serves())) {
    if (child.exitCode !== null) throw new Error(`${command} ended with ${child.exitCode}: ${log}`);
    if (performance.now() - began > 30_000) throw new Error(`${command} does not serve after 30 s: ${log}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 2);
    });
  }
  return { child, startMs: performance.now() - began };
}

export async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  await gone;
}

/** Resident memory of a process, in bytes. */
export function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? Number.NaN) * 1024;
}

/** Builds the load client, which is compiled: a client in Node would measure itself. */
export function buildLoadClient(folder: string): string {
  const binary = `${folder}/load`;
  execFileSync('go', ['build', '-o', binary, '.'], {
    cwd: new URL('load/', import.meta.url),
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return binary;
}

/** True when somebody listens on a Unix socket. */
export async function takesConnections(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
