import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { isDeepStrictEqual } from 'node:util';
import type { Equipment } from './equipment.ts';
import { commandOf } from './equipment.ts';

/** An X.509-SVID as a client library holds it. */
export interface Identity {
  readonly id: string;
  /** Of libraries that tell it. */
  readonly hint?: string;
  /** Base64 of DER, leaf first. */
  readonly chain: readonly string[];
}

/** What a watcher of X.509 contexts is told. */
export interface Update {
  readonly svids: readonly Identity[];
  /** Base64 of DER by the name of the trust domain. */
  readonly bundles: Readonly<Record<string, readonly string[]>>;
}

/** A JWT-SVID as a client library holds it. */
export interface Token {
  readonly id: string;
  readonly audience: readonly string[];
  /** Seconds since the epoch. */
  readonly expiry: number;
  readonly token: string;
}

/** A WIT-SVID as a client library holds it. */
export interface Wit {
  readonly id: string;
  readonly hint: string;
  /** Seconds since the epoch. */
  readonly expiry: number;
  readonly token: string;
}

/** The authorities of a trust domain: certificates as base64 of DER, and key ids. */
export interface Bundle {
  readonly x509: readonly string[];
  readonly jwt: readonly string[];
}

/** Whom one end of a connection has seen at the other. */
export interface Met {
  readonly id: string;
  /** Base64 of DER. */
  readonly leaf: string;
}

/** A connection as its client sees it. */
export interface Meeting {
  readonly peer: Met;
  /** Whom the server has met. */
  readonly us: Met;
  /** The version, as `TLSv1.3` or `TLS 1.3`. */
  readonly tls: string;
}

/** What a client can be told to do, and what it answers. */
export interface Commands {
  /** Opens all sources, and a watcher whose news come as events `update`, `error` and, when it has given up, `ended`. */
  watch: [args: object, answer: null];
  /** Fetches once, outside the sources. */
  fetch: [args: object, answer: Identity];
  /** What the source of X.509-SVIDs holds. */
  source: [args: object, answer: Identity];
  bundle: [args: { readonly trustDomain: string }, answer: Bundle];
  /** What the library reads in a file in SPIFFE bundle format; the hint in seconds. */
  load: [
    args: { readonly trustDomain: string; readonly path: string },
    answer: Bundle & { readonly sequence: number; readonly refreshHint: number },
  ];
  jwt: [args: { readonly audience: readonly string[]; readonly subject?: string }, answer: Token];
  /** Has the agent validate a token. */
  validate: [args: { readonly token: string; readonly audience: readonly string[] }, answer: Token];
  /** Validates a token in the client. */
  verify: [args: { readonly token: string; readonly audience: readonly string[] }, answer: Token];
  /** Opens the source of WIT-SVIDs. */
  witSource: [args: object, answer: null];
  /** What the source of WIT-SVIDs holds for an id, verified with the keys that it holds. */
  wit: [args: { readonly subject: string }, answer: Wit];
  /** Fetches a WIT-SVID once, outside the source; of the first identity where none is named. */
  fetchWit: [args: { readonly subject?: string }, answer: Wit];
  /**
   * Serves mTLS to one SPIFFE ID; the address. Handshakes come as events `accepted` and `refused`. With `defaults` as the library does
   * it when nothing is said, where a user should say something.
   */
  listen: [args: { readonly expect: string; readonly defaults?: boolean }, answer: string];
  dial: [
    args: { readonly address: string; readonly expect: string },
    answer: { readonly peer: string; readonly us: string },
  ];
  /** Dials, and keeps the connection. */
  open: [args: { readonly address: string; readonly expect: string; readonly defaults?: boolean }, answer: Meeting];
  /** What comes back on the connection that `open` has kept. */
  say: [args: { readonly address: string; readonly word: string }, answer: string];
  /** By reflection: all services. */
  services: [args: object, answer: readonly string[]];
  /** By reflection: the methods of a service. */
  describe: [args: { readonly service: string }, answer: readonly string[]];
  health: [args: { readonly service: string }, answer: string];
  /** The SPIFFE IDs of two calls on a connection with this `:authority`. */
  authority: [args: { readonly authority: string }, answer: readonly string[]];
}

interface Event {
  readonly name: string;
  readonly value: unknown;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

const EVENT_MS = 20_000;

interface StartOptions {
  readonly uid?: number;
  readonly gid?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** A workload: a process that uses a SPIFFE library, and does and tells what a test asks. */
export class Client implements AsyncDisposable {
  /** All that came by itself, oldest first. */
  readonly events: Event[] = [];
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #answers: PromiseWithResolvers<unknown>[] = [];
  readonly #exited: Promise<unknown>;
  #arrived = Promise.withResolvers<void>();
  #stderr = '';

  private constructor(child: ChildProcessWithoutNullStreams) {
    this.#process = child;
    this.#exited = new Promise((resolve) => child.once('exit', resolve));
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    createInterface({ input: child.stdout }).on('line', (line) => this.#take(line));
    child.stdin.on('error', () => undefined);
    child.once('error', (error) => this.#fail(error));
    child.once('close', () => this.#fail(new Error(`the client has ended:\n${this.#stderr}`)));
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** @param options whose process it is, that of the tests by default, and what it finds in its environment */
  static start(equipment: Equipment, socket: string, options: StartOptions = {}): Client {
    const [program, ...args] = commandOf(equipment);
    const { env: more, ...ids } = options;
    const env = { ...process.env, ...more, SPIFFE_ENDPOINT_SOCKET: `unix://${socket}` };
    return new Client(spawn(program, args, { ...ids, env, cwd: '/', stdio: 'pipe' }));
  }

  /** @throws Error with what the library says */
  async ask<C extends keyof Commands>(what: C, args: Commands[C][0] = {}): Promise<Commands[C][1]> {
    const answer = Promise.withResolvers<unknown>();
    this.#answers.push(answer);
    this.#process.stdin.write(`${JSON.stringify({ do: what, ...args })}\n`);
    return (await answer.promise) as Commands[C][1];
  }

  /** The event of that name at `index`, as soon as it has come. */
  async event(name: string, index: number): Promise<Event> {
    const deadline = AbortSignal.timeout(EVENT_MS);
    const late = once(deadline, 'abort');
    for (;;) {
      const found = this.of(name)[index];
      if (found !== undefined) return found;
      await Promise.race([this.#arrived.promise, late]);
      if (deadline.aborted) {
        const names = this.events.map((event) => event.name).join(', ');
        throw new Error(`no ${name} ${index} within ${EVENT_MS} ms, only: ${names}\n${this.#stderr}`);
      }
    }
  }

  /** The update at `index`. */
  async update(index: number): Promise<Update> {
    return (await this.event('update', index)).value as Update;
  }

  /** All updates so far. */
  updates(): readonly Update[] {
    return this.of('update').map(({ value }) => value as Update);
  }

  /** What came under a name. Updates in which the lists alone are others, which no library shows, count as one. */
  of(name: string): readonly Event[] {
    const found = this.events.filter((event) => event.name === name);
    if (name !== 'update') return found;
    return found.filter(({ value }, index) => index === 0 || !isDeepStrictEqual(value, found[index - 1]?.value));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { pid, exitCode, signalCode } = this.#process;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    this.#process.kill('SIGKILL');
    await this.#exited;
  }

  #take(line: string): void {
    const said = JSON.parse(line) as { answer?: unknown; failure?: string; event?: string; value?: unknown };
    if (said.event !== undefined) {
      this.events.push({ name: said.event, value: said.value, at: Date.now() });
      this.#arrived.resolve();
      this.#arrived = Promise.withResolvers();
    } else if (said.failure !== undefined) {
      this.#answers.shift()?.reject(new Error(said.failure));
    } else {
      this.#answers.shift()?.resolve(said.answer);
    }
  }

  #fail(error: Error): void {
    for (const answer of this.#answers.splice(0)) answer.reject(error);
  }
}
