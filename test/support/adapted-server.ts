import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, SystemClock } from '../../agent/kernel/clock.ts';
import {
  awaitFirstRequest,
  type FirstRequestLimits,
  type ReadyConnection,
  type SocketPair,
} from '../../agent/peer/http2/first-request.ts';
import { socketPair } from './socket-pair.ts';

export const LIMITS: FirstRequestLimits = { prefaceTimeout: 5000, maxHeaderBytes: 16_384, idleBeforeRewriter: 5000 };

interface Options {
  readonly limits?: Partial<FirstRequestLimits>;
  readonly clock?: Clock;
  readonly pair?: SocketPair;
  /** Takes a connection that is ready; its `remoteAddress` is `connection-<n>`, in the order of accepting. */
  readonly inject: (socket: Socket) => void;
}

/** A listener as the agent's is: it accepts, waits for the first request, names the connection, and injects it. */
export class AdaptedServer implements AsyncDisposable {
  readonly path: string;
  /** What each connection came to, in the order of accepting; filled when it is settled. */
  readonly outcomes: (ReadyConnection | 'closed' | Error | undefined)[] = [];
  readonly sockets = new Set<Socket>();
  /** Ends that were made for rewritten connections. */
  readonly pairs: Socket[] = [];
  readonly #directory: string;
  readonly #server: Server;
  readonly #watchers = new Set<() => void>();

  private constructor(directory: string, options: Options) {
    this.#directory = directory;
    this.path = join(directory, 's');
    this.#server = createServer({ pauseOnConnect: true }, (socket) => void this.#accept(socket, options));
  }

  static async listen(options: Options): Promise<AdaptedServer> {
    const server = new AdaptedServer(await mkdtemp(join(tmpdir(), 'mayfly-adapter-')), options);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.#server.once('error', reject).listen(server.path, resolve);
    await promise;
    return server;
  }

  /** The outcome of the connection that was accepted as number `index`. */
  async outcome(index: number): Promise<ReadyConnection | 'closed' | Error> {
    const deadline = AbortSignal.timeout(5000);
    for (;;) {
      const outcome = this.outcomes[index];
      if (outcome !== undefined) return outcome;
      await this.#change(deadline);
    }
  }

  /** Resolves when every socket, and every end of a pair, is closed. */
  async drained(): Promise<void> {
    const deadline = AbortSignal.timeout(5000);
    while (this.sockets.size > 0 || this.pairs.some((socket) => !socket.closed)) await this.#change(deadline);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of [...this.sockets, ...this.pairs]) socket.destroy();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    await promise;
    await this.drained();
    await rm(this.#directory, { recursive: true });
  }

  async #accept(socket: Socket, options: Options): Promise<void> {
    const index = this.outcomes.push(undefined) - 1;
    this.#watch(this.sockets, socket);
    const pair = (): [Socket, Socket] => {
      const ends = (options.pair ?? socketPair)();
      for (const end of ends) end.once('close', () => this.#wake());
      this.pairs.push(...ends);
      return ends;
    };
    try {
      const limits = { ...LIMITS, ...options.limits };
      const ready = await awaitFirstRequest(socket, limits, pair, options.clock ?? new SystemClock());
      if (ready === undefined) socket.destroy();
      else {
        Object.defineProperty(ready.socket, 'remoteAddress', { value: `connection-${index}` });
        options.inject(ready.socket);
      }
      this.outcomes[index] = ready ?? 'closed';
    } catch (error) {
      socket.destroy();
      this.outcomes[index] = error as Error;
    }
    this.#wake();
  }

  #watch(set: Set<Socket>, socket: Socket): void {
    set.add(socket);
    socket.once('close', () => {
      set.delete(socket);
      this.#wake();
    });
  }

  async #change(deadline: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const late = () => reject(new Error('the deadline passed'));
    deadline.throwIfAborted();
    deadline.addEventListener('abort', late);
    this.#watchers.add(resolve);
    try {
      await promise;
    } finally {
      this.#watchers.delete(resolve);
      deadline.removeEventListener('abort', late);
    }
  }

  #wake(): void {
    for (const resolve of this.#watchers) resolve();
  }
}
