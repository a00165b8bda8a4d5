import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { type BoundSocket, bindSocketPath } from './socket-path.ts';

/** Where a socket is, and who may use it. */
export interface SocketPlace {
  readonly path: string;
  /** Who may connect: 0o777 for the Workload API, where attestation decides; 0o600 for the admin socket. */
  readonly mode: number;
}

// The kernel caps it at net.core.somaxconn. Clients with non-blocking sockets get EAGAIN above it, and most give up then.
const BACKLOG = 4096;

/** One socket in the file system on which connections are taken. */
export class ListeningSocket {
  readonly #bound: BoundSocket;
  readonly #server: Server;

  /**
   * Binds and listens.
   *
   * @param accept takes each connection, which nobody has read from
   * @throws MayflyError as `bindSocketPath` does
   */
  static async open({ path, mode }: SocketPlace, accept: (socket: Socket) => void): Promise<ListeningSocket> {
    const bound = bindSocketPath(path, mode);
    const server = createServer({ pauseOnConnect: true }, accept);
    try {
      server.listen({ fd: bound.descriptor, backlog: BACKLOG });
      await once(server, 'listening');
    } catch (error) {
      bound.remove();
      closeSync(bound.descriptor);
      throw error;
    }
    return new ListeningSocket(bound, server);
  }

  private constructor(bound: BoundSocket, server: Server) {
    this.#bound = bound;
    this.#server = server;
  }

  /** Calls `told` when a connection could not be accepted: out of descriptors or memory, and the next one may get through. */
  onFailure(told: (error: Error) => void): void {
    this.#server.on('error', told);
  }

  /** Stops accepting and removes the file. Connections stay as they are. */
  close(): void {
    // While the descriptor is open nothing else can have the file's inode number.
    this.#bound.remove();
    this.#server.close();
  }
}
