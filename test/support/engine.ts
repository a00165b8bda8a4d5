import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** A container as a test gives it. */
export interface TestContainer {
  readonly id: string;
  readonly pid: number;
  readonly running?: boolean;
  readonly paused?: boolean;
  readonly started?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly env?: readonly string[];
  readonly imageName?: string;
  readonly image?: string;
}

export const STARTED = '2026-01-02T03:04:05.678901234Z';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A container engine on a Unix socket, as far as the agent asks one: the records that a test puts in, and events. */
export class TestEngine {
  readonly path: string;
  readonly containers = new Map<string, TestContainer>();
  /** What it was asked, oldest first. */
  readonly asked: string[] = [];
  /** Answers instead of the engine, where a test wants something else. */
  instead: Handler | undefined;
  readonly #listening = new Set<ServerResponse>();
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /** Starts it, again too. */
  async start(): Promise<void> {
    rmSync(this.path, { force: true });
    const server = createServer((request, response) => this.#answer(request, response));
    server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#server = server;
    await once(server.listen(this.path), 'listening');
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    for (const socket of this.#sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  }

  /** How many follow its events. */
  get followers(): number {
    return this.#listening.size;
  }

  /** How often it was asked about containers. */
  get questions(): number {
    return this.asked.filter((url) => url.startsWith('/containers/')).length;
  }

  set(container: TestContainer): void {
    this.containers.set(container.id, container);
  }

  /** Tells all followers of something that has happened. */
  tell(event: unknown): void {
    this.write(`${JSON.stringify(event)}\n`);
  }

  /** Has all followers read this. */
  write(text: string): void {
    for (const response of this.#listening) response.write(text);
  }

  /** Ends the streams of events. */
  cut(): void {
    for (const response of this.#listening) response.destroy();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = request.url ?? '';
    this.asked.push(url);
    if (this.instead !== undefined) {
      this.instead(request, response);
    } else if (url.startsWith('/events?')) {
      this.#listening.add(response);
      response.once('close', () => this.#listening.delete(response));
      response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
    } else {
      const [, id = ''] = /^\/containers\/([0-9a-f]{64})\/json$/.exec(url) ?? [];
      const container = this.containers.get(id);
      if (container === undefined) answer(response, 404, { message: `No such container: ${id}` });
      else answer(response, 200, recordOf(container));
    }
  }
}

/** What an engine says of a container, in Docker's API. */
export function recordOf(container: TestContainer): object {
  const {
    env,
    id,
    image = `sha256:${'0f'.repeat(32)}`,
    imageName = 'shop/payments:1',
    labels,
    paused = false,
  } = container;
  const { pid, running = true, started = STARTED } = container;
  return {
    Id: id,
    Name: '/payments',
    Image: image,
    State: { Status: running ? 'running' : 'exited', Running: running, Paused: paused, Pid: pid, StartedAt: started },
    Config: { Image: imageName, Env: env ?? null, Labels: labels ?? null },
  };
}

function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
