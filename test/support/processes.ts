import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { PeerCredentials } from '../../agent/peer/credentials.ts';
import { openPidfd } from '../../agent/peer/system/pidfd.ts';

export const isRoot = process.getuid?.() === 0;

/** Processes and directories of one test file, all gone after {@link Processes.clean}. */
export class Processes {
  readonly #children = new Set<ChildProcess>();
  readonly #directories: string[] = [];

  /** A directory that only its owner can write to. */
  directory(): string {
    const directory = mkdtempSync(join(tmpdir(), 'mf-peer-'));
    this.#directories.push(directory);
    return directory;
  }

  /** A process that does nothing. */
  async sleeper(options: SpawnOptions = {}): Promise<Child> {
    return this.run('/bin/sleep', ['600'], options);
  }

  /** Runs a program of a test, as TypeScript. */
  async script(file: URL, args: readonly string[] = [], options: SpawnOptions = {}): Promise<Child> {
    return this.run(process.execPath, ['--no-warnings', file.pathname, ...args], options);
  }

  async run(program: string, args: readonly string[], options: SpawnOptions = {}): Promise<Child> {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], ...options });
    this.#children.add(child);
    await once(child, 'spawn');
    return new Child(child);
  }

  clean(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    for (const directory of this.#directories) rmSync(directory, { recursive: true, force: true });
  }
}

export class Child {
  readonly process: ChildProcess;
  readonly pid: number;
  /** Resolves with the exit code, or the name of the signal. */
  readonly exited: Promise<number | string>;
  stderr = '';
  readonly #lines: string[] = [];
  #wake: () => void = () => undefined;

  constructor(child: ChildProcess) {
    this.process = child;
    this.pid = child.pid ?? 0;
    this.exited = once(child, 'exit').then(([code, signal]) => (code as number | null) ?? String(signal));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    if (child.stdout === null) return;
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.#lines.push(line);
      this.#wake();
    });
  }

  /** The next line of output. */
  async line(): Promise<string> {
    for (;;) {
      const line = this.#lines.shift();
      if (line !== undefined) return line;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await Promise.race([promise, this.exited.then((how) => this.#failed(how))]);
    }
  }

  /** Sends a line of input, and returns the line that answers it. */
  async tell(line: string): Promise<string> {
    this.process.stdin?.write(`${line}\n`);
    return this.line();
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.process.kill(signal);
    await this.exited;
  }

  #failed(how: number | string): never {
    if (this.#lines.length > 0) return undefined as never;
    throw new Error(`process ${this.pid} ended (${how}) without a line: ${this.stderr}`);
  }
}

/** What a connection of the process would say of it; the pidfd is the receiver's to close. */
export function credentialsOf(pid: number, ids: { uid?: number; gid?: number } = {}): PeerCredentials {
  const uid = ids.uid ?? process.geteuid?.() ?? 0;
  const gid = ids.gid ?? process.getegid?.() ?? 0;
  return { pid, uid, gid, pidfd: openPidfd(pid), proof: 'pidfd' };
}

/** How many descriptors of this process lead to something that `pattern` names. */
export function descriptors(pattern: RegExp): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return pattern.test(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      return false;
    }
  }).length;
}

/** Waits until `condition` holds. */
export async function until(condition: () => boolean, what: string, ms = 5000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 2);
    });
  }
}
