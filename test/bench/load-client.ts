import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

/** Percentiles in milliseconds. */
export interface Percentiles {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

interface Measured {
  readonly errors: number;
  readonly error_texts?: Readonly<Record<string, number>>;
}

const run = promisify(execFile);

/** The compiled client, against one agent. Every measurement throws when a single operation failed: a wrong figure is worse than none. */
export class LoadClient {
  readonly #binary: string;
  readonly #socket: string;

  constructor(binary: string, socket: string) {
    this.#binary = binary;
    this.#socket = socket;
  }

  /** True when the agent gives this client an X.509-SVID. */
  async serves(): Promise<boolean> {
    try {
      await run(this.#binary, ['first-svid', '--socket', this.#socket, '--n', '1', '--warmup', '0', '--timeout', '2s']);
      return true;
    } catch {
      // Exit code 1: nothing could be measured, since nobody answers yet.
      return false;
    }
  }

  /** First X.509-SVID, each on a new connection of one process. */
  async firstSvid(count: number): Promise<Percentiles> {
    const { ms } = await this.#measure<{ ms: Percentiles }>('first-svid', '--n', `${count}`, '--warmup', '50');
    return ms;
  }

  /** First X.509-SVID in a new process, as that process sees it, and how many different keys there were. */
  async newProcess(count: number): Promise<{ inProcess: Percentiles; keys: number }> {
    const measured = await this.#measure<{ in_process_ms: Percentiles; distinct_keys: number }>(
      'new-process',
      '--n',
      `${count}`,
    );
    return { inProcess: measured.in_process_ms, keys: measured.distinct_keys };
  }

  /** JWT-SVIDs over one connection: a second, and how long each took. */
  async jwt(underWay: number, fresh: boolean): Promise<{ perSecond: number; ms: Percentiles }> {
    const flags = ['--concurrency', `${underWay}`, '--duration', '5s', ...(fresh ? ['--fresh'] : [])];
    const measured = await this.#measure<{ calls_per_second: number; ms: Percentiles }>('jwt', ...flags);
    return { perSecond: measured.calls_per_second, ms: measured.ms };
  }

  /**
   * Opens `count` streams, each on its own connection, and holds them while `held` runs.
   *
   * @param held is given the milliseconds until all had their first message, and a function that resolves at the next update that
   *   all have seen, with the time of the last, in milliseconds since the epoch
   * @param mixed has a third of them use the Workload API, and a third each way of SDS; an update is a new certificate then
   */
  async streams<T>(
    count: number,
    held: (readyMs: number, next: () => Promise<number>) => Promise<T>,
    mixed = false,
  ): Promise<T> {
    const flags = ['--socket', this.#socket, '--n', `${count}`, ...(mixed ? ['--mixed'] : [])];
    const child = spawn(this.#binary, ['streams', ...flags], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const next = async (event: string): Promise<Record<string, number>> => {
      for (;;) {
        const line = await lines.next();
        if (line.done === true) throw new Error(`the streams ended while ${event} was awaited`);
        const told = JSON.parse(line.value) as Record<string, number> & { event: string };
        if (told.event === event) return told;
      }
    };
    try {
      const ready = await next('ready');
      return await held(ready['ms'] ?? Number.NaN, async () => (await next('update'))['last_ms_unix'] ?? Number.NaN);
    } finally {
      child.stdin.end();
      if (child.exitCode === null) await once(child, 'exit');
    }
  }

  /**
   * Kills processes that hold an identity: how long it takes until their certificate is on the list of the first and of the last of
   * `streams` followers of bundles, and until their token is refused.
   */
  async deaths(count: number, streams: number): Promise<{ first: Percentiles; last: Percentiles; token: Percentiles }> {
    const flags = ['--n', `${count}`, '--concurrency', `${streams}`];
    const measured = await this.#measure<{ first_ms: Percentiles; last_ms: Percentiles; token_ms: Percentiles }>(
      'deaths',
      ...flags,
    );
    return { first: measured.first_ms, last: measured.last_ms, token: measured.token_ms };
  }

  async #measure<T>(...args: string[]): Promise<T> {
    const { stdout } = await run(this.#binary, [args[0] ?? '', '--socket', this.#socket, ...args.slice(1)]);
    const measured = JSON.parse(stdout) as T & Measured;
    if (measured.errors > 0)
      throw new Error(`${args[0]}: ${measured.errors} failed: ${JSON.stringify(measured.error_texts)}`);
    return measured;
  }
}
