import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { plainEnvironment } from './daemon.ts';
import { JsonLines } from './json-lines.ts';
import type { Said, SaidX509 } from './workload-said.ts';

const PROGRAM = new URL('workload-process.ts', import.meta.url).pathname;
const COMPILE_CACHE = new URL('../../node_modules/.cache/mayfly-test', import.meta.url).pathname;

// It is in another session, and its parent is over: nothing but its cgroup says where it comes from. What began it all holds its input.
const ORPHAN = 'read line; setsid --fork "$@"; exec sleep 600';

type SaidOf<Event extends Said['event']> = Extract<Said, { readonly event: Event }>;

/** A workload in a process of its own. Killed when it is disposed of, if it still runs. */
export class WorkloadClient implements AsyncDisposable {
  readonly pid: number;
  readonly said: JsonLines<Said>;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #exited: Promise<unknown>;
  #stderr = '';

  /**
   * @param uid whom it becomes before it connects
   * @param forks whether the process is a shell that waits for a line, forks, and leaves the workload to nobody
   */
  constructor(socket: string, uid?: number, { forks = false }: { readonly forks?: boolean } = {}) {
    const argv = [process.execPath, PROGRAM, socket, ...(uid === undefined ? [] : [String(uid)])] as const;
    const env = { ...plainEnvironment(), NODE_COMPILE_CACHE: COMPILE_CACHE };
    const [program, ...args] = forks ? ['/bin/sh', '-c', ORPHAN, 'sh', ...argv] : argv;
    this.#child = spawn(program ?? '', args, { env });
    this.pid = this.#child.pid ?? 0;
    this.said = new JsonLines(this.#child.stdout);
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    // It may be gone already.
    this.#child.stdin.on('error', () => undefined);
    this.#exited = once(this.#child, 'close');
  }

  /** What it wrote to stderr: empty when all is well. */
  get stderr(): string {
    return this.#stderr;
  }

  /** Gives a command and returns the first that is said of one of these `events` afterwards. */
  tell<Event extends Said['event']>(command: string, ...events: readonly Event[]): Promise<SaidOf<Event>> {
    const after = this.said.mark;
    this.send(command);
    return this.#first(events, `an answer to ${command}`, after);
  }

  /** Gives a command. */
  send(command: string): void {
    this.#child.stdin.write(`${command}\n`);
  }

  /** Opens a stream and returns its first update. @throws with the status, when there is none */
  async x509(connection?: string): Promise<SaidX509> {
    const said = await this.tell(connection === undefined ? 'x509' : `x509 ${connection}`, 'x509', 'end');
    if (said.event === 'end') throw new Error(`refused: ${said.code} ${said.details}`);
    return said;
  }

  /** What comes of its n-th stream, over a connection of its own: identities, or the status that it ends with. */
  async stream(number: number): Promise<readonly string[]> {
    this.send(`x509 ${number}`);
    const isFirst = (said: Said) => (said.event === 'x509' || said.event === 'end') && said.stream === number;
    const said = await this.said.first(isFirst, `stream ${number}`);
    return said.event === 'x509' ? said.ids : said.event === 'end' ? [said.code] : [];
  }

  /** Waits until it, who follows bundles, has been sent a list with this certificate. */
  async seesRevoked(serial: string): Promise<void> {
    const isRevoked = (said: Said) =>
      said.event === 'bundles' && said.crls.some(({ serials }) => serials.includes(serial));
    await this.said.first(isRevoked, `a list with certificate ${serial}`);
  }

  /** The first update that `matches`, of all that there were and will be. */
  update(matches: (update: SaidX509) => boolean, what: string, ms?: number): Promise<SaidX509> {
    return this.said.first((said): said is SaidX509 => said.event === 'x509' && matches(said), what, 0, ms);
  }

  /** The first of this event, of all that there were and will be. */
  says<Event extends Said['event']>(event: Event): Promise<SaidOf<Event>> {
    return this.#first([event], event, 0);
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.#child.kill(signal);
  }

  /** Ends it in good order: the exit code. */
  async end(): Promise<number | null> {
    this.#child.stdin.end();
    await this.#exited;
    return this.#child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.kill();
    await this.#exited;
  }

  async #first<Event extends Said['event']>(
    events: readonly Event[],
    what: string,
    after: number,
  ): Promise<SaidOf<Event>> {
    const isOne = (said: Said): said is SaidOf<Event> => (events as readonly string[]).includes(said.event);
    try {
      return await this.said.first(isOne, what, after);
    } catch (error) {
      throw new Error(`workload ${this.pid}: ${this.#stderr}`, { cause: error });
    }
  }
}
