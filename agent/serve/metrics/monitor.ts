import { once } from 'node:events';
import { closeSync } from 'node:fs';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ListenAddress } from '../../config/listen-address.ts';
import { isLocal } from '../../config/listen-address.ts';
import { asError, MayflyError, messageOf, systemCodeOf } from '../../kernel/errors.ts';
import { http } from '../../kernel/http.ts';
import type { Log } from '../../kernel/log.ts';
import { type BoundSocket, bindSocketPath } from '../../peer/socket-path.ts';

/** What is answered to a GET. */
export interface Page {
  readonly status: number;
  readonly body: string;
  /** Plain text unless it says otherwise. */
  readonly type?: string;
}

export interface MonitorOptions {
  readonly address: Exclude<ListenAddress, { readonly kind: 'off' }>;
  /** Of the socket, where the address is a path. */
  readonly mode: number;
  /** By path; each is asked anew at each request. */
  readonly pages: ReadonlyMap<string, () => Page | Promise<Page>>;
  readonly log: Log;
  readonly limits?: Partial<MonitorLimits>;
  /** Told of each answer. @param path one of those above, or `other` */
  readonly answered?: ((path: string, status: number) => void) | undefined;
}

/** What a client may use up; times in milliseconds. */
export interface MonitorLimits {
  /** A scraper and two kinds of probes ask one after the other: this is for those who do not mean it. */
  readonly connections: number;
  readonly headerBytes: number;
  readonly headersWithin: number;
  readonly requestWithin: number;
  /** Who takes nothing off for so long is cut. */
  readonly stalled: number;
  /** Above the usual interval between two scrapes, so that a scraper keeps its connection. */
  readonly keptAlive: number;
}

const LIMITS: MonitorLimits = {
  connections: 64,
  headerBytes: 8192,
  headersWithin: 5000,
  requestWithin: 10_000,
  stalled: 15_000,
  keptAlive: 65_000,
};

// How often is looked for those who are late.
const LOOKS_PER_TIMEOUT = 5;

const PLAIN = 'text/plain; charset=utf-8';

/**
 * Serves pages over HTTP/1.1, for scrapers and probes: GET and HEAD, no bodies, each answer with a sentence. It asks for no password,
 * which is why it is to be reached from the machine alone unless somebody says otherwise.
 */
export class Monitor {
  readonly #options: MonitorOptions;
  readonly #limits: MonitorLimits;
  readonly #server: Server;
  readonly #sockets = new Set<Duplex>();
  /** Those that were answered and ask nothing now, the longest first. */
  readonly #idle = new Set<Duplex>();
  #bound: BoundSocket | undefined;

  /** Binds and listens. @throws MayflyError `SOCKET_IN_USE`, `INVALID_CONFIG`, `PERMISSION_MISSING`; as `bindSocketPath` for a path */
  static async open(options: MonitorOptions): Promise<Monitor> {
    const monitor = new Monitor(options);
    await monitor.#listen();
    return monitor;
  }

  private constructor(options: MonitorOptions) {
    this.#options = options;
    const limits = { ...LIMITS, ...options.limits };
    this.#limits = limits;
    this.#server = http.createServer(
      {
        maxHeaderSize: limits.headerBytes,
        headersTimeout: limits.headersWithin,
        requestTimeout: limits.requestWithin,
        keepAliveTimeout: limits.keptAlive,
        connectionsCheckingInterval: limits.headersWithin / LOOKS_PER_TIMEOUT,
      },
      (request, response) => void this.#answer(request, response),
    );
    this.#server.timeout = limits.stalled;
    this.#server.on('connection', (socket) => this.#admit(socket));
    this.#server.on('clientError', (error, socket) => this.#unreadable(error, socket));
    // Tunnels, and requests that wait to be told to go on, are no way to ask for a page.
    this.#server.on('connect', (_request, socket) => this.#refuse(socket, 405, 'only GET and HEAD are answered'));
    this.#server.on('checkContinue', (request, response) => void this.#answer(request, response));
  }

  /** The port, where the address has one. */
  get port(): number | undefined {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : undefined;
  }

  /** How many connections are open. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Stops, cuts what is open, and removes the socket. May be called again. */
  async close(): Promise<void> {
    // While the descriptor is open nothing else can have the file's inode number.
    this.#bound?.remove();
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #listen(): Promise<void> {
    const { address, log, mode } = this.#options;
    try {
      if (address.kind === 'socket') {
        this.#bound = bindSocketPath(address.path, mode);
        this.#server.listen({ fd: this.#bound.descriptor });
      } else {
        this.#server.listen({ host: address.host, port: address.port });
      }
      await once(this.#server, 'listening');
    } catch (error) {
      const bound = this.#bound;
      bound?.remove();
      if (bound !== undefined) closeSync(bound.descriptor);
      throw address.kind === 'tcp' ? unlistenable(address.host, address.port, error) : error;
    }
    // Out of descriptors or memory: the next one may get through.
    this.#server.on('error', (error) => log.warn('monitor.refused', `accept failed: ${messageOf(error)}`));
  }

  #admit(socket: Duplex): void {
    const { connections } = this.#limits;
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#idle.delete(socket);
    });
    this.#sockets.add(socket);
    if (this.#sockets.size <= connections) return;
    const [idle] = this.#idle;
    if (idle === undefined) {
      this.#refuse(socket, 503, 'too many connections are open');
    } else {
      this.#sockets.delete(idle);
      this.#idle.delete(idle);
      idle.destroy();
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket, url = '' } = request;
    const [path = ''] = url.split('?', 1);
    this.#idle.delete(socket);
    const page = await this.#pageFor(request, path);
    // Whoever begins to send a body would go on.
    if (hasBody(request)) response.shouldKeepAlive = false;
    response.writeHead(page.status, {
      'Content-Type': page.type ?? PLAIN,
      'Content-Length': Buffer.byteLength(page.body),
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      ...(page.status === 405 && { Allow: 'GET, HEAD' }),
    });
    response.end(request.method === 'HEAD' ? undefined : page.body, () => {
      if (!response.shouldKeepAlive) socket.destroySoon();
      else if (!socket.destroyed) this.#idle.add(socket);
    });
    this.#told(path, page.status);
  }

  async #pageFor(request: IncomingMessage, path: string): Promise<Page> {
    const { address, log, pages } = this.#options;
    if (request.method !== 'GET' && request.method !== 'HEAD') return refusal(405, 'only GET and HEAD are answered');
    if (hasBody(request)) return refusal(413, 'no request body is taken');
    if (address.kind === 'tcp' && isLocal(address) && !namesLocal(request.headers.host)) {
      return refusal(421, 'ask for it by its IP address, or as localhost');
    }
    const page = pages.get(path);
    if (page === undefined) return refusal(404, `there are ${[...pages.keys()].join(', ')}`);
    try {
      return await page();
    } catch (error) {
      log.error('monitor.failed', `${path} could not be answered`, { error: asError(error) });
      return refusal(500, 'internal error; the agent logged it');
    }
  }

  #unreadable(error: Error, socket: Duplex): void {
    switch (systemCodeOf(error) ?? '') {
      case 'HPE_HEADER_OVERFLOW':
        return this.#refuse(socket, 431, `a request has at most ${this.#limits.headerBytes} bytes of headers`);
      case 'ERR_HTTP_REQUEST_TIMEOUT':
        return this.#refuse(socket, 408, 'the request took too long');
      case 'ECONNRESET':
        socket.destroy();
        return;
      default:
        return this.#refuse(socket, 400, 'this is no HTTP/1.1 request');
    }
  }

  /** Answers on a connection that has no request which could be answered, and closes it. */
  #refuse(socket: Duplex, status: number, sentence: string): void {
    if (!socket.writable) {
      socket.destroy();
      return;
    }
    const { body } = refusal(status, sentence);
    const head = [
      `HTTP/1.1 ${status} ${http.STATUS_CODES[status]}`,
      `Content-Type: ${PLAIN}`,
      `Content-Length: ${Buffer.byteLength(body)}`,
      'Connection: close',
    ];
    // Not before it is written; nothing more is read meanwhile.
    socket.pause();
    socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
    this.#told('', status);
  }

  #told(path: string, status: number): void {
    this.#options.answered?.(this.#options.pages.has(path) ? path : 'other', status);
  }
}

function refusal(status: number, sentence: string): Page {
  return { status, body: `${sentence}\n` };
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0;
}

/** A web page may have its own name lead here, and would read what its visitor's machine says; it cannot have it look like this. */
function namesLocal(host: string | undefined): boolean {
  if (host === undefined) return true;
  const name = host.replace(/:\d*$/, '');
  return name === 'localhost' || isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0;
}

function unlistenable(host: string, port: number, cause: unknown): unknown {
  const at = isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
  switch (systemCodeOf(cause) ?? '') {
    case 'EADDRINUSE':
      return new MayflyError('SOCKET_IN_USE', `another process listens on ${at}; stop it, or change metrics.listen`, {
        cause,
      });
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
      return new MayflyError(
        'INVALID_CONFIG',
        `metrics.listen: this machine has no address ${host}; name one that it has, or a socket`,
        { cause },
      );
    case 'EACCES':
      return new MayflyError('PERMISSION_MISSING', `the agent may not listen on ${at}; choose a port above 1023`, {
        cause,
      });
    default:
      return cause;
  }
}
