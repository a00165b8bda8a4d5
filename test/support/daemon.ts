import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { AgentClient } from '../../agent/cli/client.ts';
import { Admin, type GetStatusResponse, type ListLeasesResponse_Lease as Lease } from '../../agent/gen/admin_pb.js';
import { Health, HealthCheckResponse_ServingStatus as ServingStatus } from '../../agent/gen/health_pb.js';
import { SystemClock } from '../../agent/kernel/clock.ts';
import type { Home } from './home.ts';
import { eventually, JsonLines, PATIENCE_MS } from './json-lines.ts';

/** The user whom tests that start as root run unprivileged things as. */
export const NOBODY = 65_534;

const ROOT = new URL('../../', import.meta.url);
const { bin } = JSON.parse(readFileSync(new URL('package.json', ROOT), 'utf8')) as { bin: { mayfly: string } };

/** The program, for node. */
export const MAIN: string = new URL(bin.mayfly, ROOT).pathname;

/** True where {@link NOBODY} can run it: the tests are root's, and others may read the clone. */
export function nobodyRuns(): boolean {
  if (process.getuid?.() !== 0) return false;
  return spawnSync(process.execPath, [MAIN, 'version'], { uid: NOBODY, gid: NOBODY }).status === 0;
}

/** A line of an agent's log. */
export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly event: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** How a program ended, and what it had said. */
export interface Ended {
  /** `null` when a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface LaunchOptions {
  /** What runs instead of the sources: a command and its first arguments. */
  readonly program?: readonly [string, ...string[]];
  /** Arguments of node, before the program. */
  readonly node?: readonly string[];
  /** Arguments of `mayfly run`. */
  readonly args?: readonly string[];
  /** Whom it runs as; the home has to be his. */
  readonly uid?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** An agent in a process of its own. Killed when it is disposed of, if it still runs. */
export class Daemon implements AsyncDisposable {
  readonly home: Home;
  readonly pid: number;
  readonly log: JsonLines<LogLine>;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  #admin: AgentClient | undefined;
  #api: AgentClient | undefined;

  private constructor(home: Home, child: ChildProcess) {
    if (child.stderr === null) throw new Error('an agent without a log');
    this.home = home;
    this.pid = child.pid ?? 0;
    this.#child = child;
    this.log = new JsonLines(child.stderr);
    // With 'close' all that it wrote has been read.
    this.#exited = once(child, 'close');
  }

  /** Starts `mayfly run` and goes on at once. */
  static launch(home: Home, { program, node = [], args = [], uid, env = {} }: LaunchOptions = {}): Daemon {
    const [command, ...first] = program ?? [process.execPath, ...node, MAIN];
    const child = spawn(command, [...first, 'run', '--config', home.config, ...args], {
      cwd: home.folder,
      env: { ...plainEnvironment(), ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
      ...(uid !== undefined && { uid, gid: uid }),
    });
    return new Daemon(home, child);
  }

  /** Starts `mayfly run` and waits until it serves. @throws when it ends instead */
  static async start(home: Home, options: LaunchOptions = {}): Promise<Daemon> {
    const daemon = Daemon.launch(home, options);
    await daemon.logged('agent.started');
    return daemon;
  }

  /** The first line with this event, once it is there. @param after a mark of {@link log} */
  logged(event: string, after = 0, matches: (line: LogLine) => boolean = () => true): Promise<LogLine> {
    return this.log.first((line) => line.event === event && matches(line), event, after);
  }

  status(): Promise<GetStatusResponse> {
    return this.#operator().unary(Admin.method.getStatus, {});
  }

  async leases(): Promise<readonly Lease[]> {
    const { leases } = await this.#operator().unary(Admin.method.listLeases, {});
    return leases;
  }

  /** What `grpc.health.v1` says of a part; the empty name is the whole. */
  async healthy(service: string): Promise<boolean> {
    this.#api ??= clientOf('api', this.home.socket);
    const { status } = await this.#api.unary(Health.method.check, { service });
    return status === ServingStatus.SERVING;
  }

  /** Refused connections and calls, by reason. */
  async refused(reason: string): Promise<number> {
    const { peer } = await this.status();
    return Number(peer?.refused[reason] ?? 0);
  }

  /** How many descriptors it has open. */
  async descriptors(): Promise<number> {
    const { resources } = await this.status();
    return resources?.descriptors ?? 0;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Waits until it has ended. */
  async ended(ms: number = PATIENCE_MS): Promise<Pick<Ended, 'code' | 'signal'>> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error(`process ${this.pid} did not end within ${ms} ms`)), ms);
    await Promise.race([this.#exited, late]).finally(() => clearTimeout(timer));
    return { code: this.#child.exitCode, signal: this.#child.signalCode };
  }

  /** Sends a signal and waits for the end; says how long it took, in milliseconds. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Pick<Ended, 'code' | 'signal'> & { readonly took: number }> {
    this.disconnect();
    const start = performance.now();
    this.signal(signal);
    return { ...(await this.ended()), took: performance.now() - start };
  }

  /** Closes the test's own connections. */
  disconnect(): void {
    this.#admin?.[Symbol.dispose]();
    this.#api?.[Symbol.dispose]();
    this.#admin = undefined;
    this.#api = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.disconnect();
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.signal('SIGKILL');
    await this.#exited;
  }

  #operator(): AgentClient {
    this.#admin ??= clientOf('admin', this.home.adminSocket);
    return this.#admin;
  }
}

/** Runs a command of `mayfly` to its end. */
export async function mayfly(
  args: readonly string[],
  options: { readonly cwd?: string; readonly uid?: number; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<Ended> {
  const { cwd = tmpdir(), uid, env = {} } = options;
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd,
    env: { ...plainEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: PATIENCE_MS,
    ...(uid !== undefined && { uid, gid: uid }),
  });
  return endOf(child);
}

/** Starts an agent that is expected to refuse to: what it said, and its exit code. */
export function refusal(
  home: Home,
  { args = [], ...options }: Omit<LaunchOptions, 'node' | 'program'> = {},
): Promise<Ended> {
  return mayfly(['run', '--config', home.config, ...args], { cwd: home.folder, ...options });
}

/** What a program said of why it failed: the last line of its stderr. */
export function sentence(stderr: string): string {
  return /^mayfly: (.*)\n$/m.exec(stderr.slice(stderr.lastIndexOf('\n', stderr.length - 2) + 1))?.[1] ?? '';
}

/** Collects what a program says until it has ended. */
export async function endOf(child: ChildProcess): Promise<Ended> {
  const [stdout, stderr]: [string[], string[]] = [[], []];
  child.stdout?.setEncoding('utf8').on('data', (text: string) => stdout.push(text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => stderr.push(text));
  await once(child, 'close');
  return { code: child.exitCode, signal: child.signalCode, stdout: stdout.join(''), stderr: stderr.join('') };
}

/** The environment of the tests without what speaks to the agent. */
export function plainEnvironment(): NodeJS.ProcessEnv {
  const names = Object.keys(process.env).filter(
    (name) => !/^(MAYFLY_|SPIFFE_|NODE_OPTIONS|NODE_ENV|VITEST)/.test(name),
  );
  return Object.fromEntries(names.map((name) => [name, process.env[name]]));
}

/** Waits until no lease is live any more, and says how long that took, in milliseconds. */
export async function leasesGone(daemon: Daemon): Promise<number> {
  const start = performance.now();
  await eventually('no lease is live', async () => ((await daemon.leases()).length === 0 ? true : undefined));
  return performance.now() - start;
}

function clientOf(kind: 'api' | 'admin', path: string): AgentClient {
  return new AgentClient({ kind, path, from: 'the test' }, PATIENCE_MS, new SystemClock());
}
