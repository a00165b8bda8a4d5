import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { Clock } from '../kernel/clock.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import { Admission, type AdmissionLimits } from './admission.ts';
import { Callers } from './callers.ts';
import { Connection } from './connection.ts';
import { type Proof, readCredentials, type Unidentified } from './credentials.ts';
import { awaitFirstRequest, type ReadyConnection } from './http2/first-request.ts';
import type { ProcessInstance } from './instance.ts';
import { ListeningSocket, type SocketPlace } from './listening-socket.ts';
import type { Instances } from './process.ts';
import { Refusals } from './refusals.ts';
import { socketPair } from './system/unix-socket.ts';

/** All limits of one socket; times in milliseconds, sizes in bytes. */
export interface PeerLimits extends AdmissionLimits {
  readonly prefaceTimeout: number;
  readonly maxHeaderBytes: number;
}

export interface ListenerOptions {
  /** Stands in the ids of its connections: `workload`, `admin`. */
  readonly name: string;
  /** Where it listens. Limits hold for all of them together. */
  readonly sockets: readonly SocketPlace[];
  /** What `strongestProof` found. */
  readonly proof: Proof;
  readonly instances: Instances;
  readonly limits: PeerLimits;
  /** With whom the connections of a process are counted. Never throws. */
  readonly tenantOf: (process: { readonly pid: number; readonly uid: number }) => string;
  readonly log: Log;
  readonly clock: Clock;
  /**
   * Told who asks when a connection's first request is there, just before it is handed over: what that request will need can begin
   * while HTTP/2 is set up. Connections that ask nothing are not told.
   */
  readonly asked?: (instance: ProcessInstance) => void;
  /** Takes a connection whose `remoteAddress` is the id under which `callers` knows it. It may close it; it is destroyed in any case. */
  readonly inject: (socket: Socket) => void;
}

// A connection that asks nothing for so long waits behind a rewriter.
const IDLE_BEFORE_REWRITER_MS = 1000;

/** Owns sockets: who connects is known, admitted and counted before a byte is read, and handed over with its first request. */
export class Listener {
  readonly callers: Callers;
  readonly admission: Admission;
  readonly refusals: Refusals;
  readonly #options: ListenerOptions;
  readonly #sockets: ListeningSocket[] = [];
  readonly #connections = new Set<Connection>();
  #limits: PeerLimits;
  #closed = false;

  /**
   * Binds the sockets and listens on all of them, or on none.
   *
   * @throws MayflyError as `bindSocketPath` does
   */
  static async open(options: ListenerOptions): Promise<Listener> {
    const listener = new Listener(options);
    try {
      for (const place of options.sockets) await listener.#listen(place);
    } catch (error) {
      await listener.destroyAll();
      throw error;
    }
    return listener;
  }

  private constructor(options: ListenerOptions) {
    this.#options = options;
    this.#limits = options.limits;
    this.refusals = new Refusals(options.log, options.clock);
    this.admission = new Admission(options.limits, this.refusals);
    this.callers = new Callers(options.name);
  }

  /** How many connections are open. */
  get connections(): number {
    return this.#connections.size;
  }

  /** New limits hold for what comes; what is under way already is not ended. */
  setLimits(limits: PeerLimits): void {
    this.#limits = limits;
    this.admission.setLimits(limits);
  }

  /** Stops accepting and removes the sockets' files. Connections stay as they are. May be called again. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const socket of this.#sockets) socket.close();
  }

  /** Closes, cuts every connection, and resolves when all are gone. */
  async destroyAll(): Promise<void> {
    this.close();
    for (const connection of this.#connections) connection.destroy();
    await Promise.all(Array.from(this.#connections, (connection) => connection.closed));
    this.refusals.close();
  }

  async #listen(place: SocketPlace): Promise<void> {
    const socket = await ListeningSocket.open(place, (accepted) => this.#accept(accepted));
    socket.onFailure(({ message }) => this.refusals.add('not-accepted', `accept failed: ${message}`));
    this.#sockets.push(socket);
  }

  #accept(socket: Socket): void {
    // An error is followed by 'close', where it is seen to.
    socket.on('error', () => undefined);
    const { instances, proof, clock, tenantOf } = this.#options;
    const credentials = readCredentials(socket, proof);
    if ('kind' in credentials) return this.#refuse(socket, credentials);
    const { uid, pid, pidfd } = credentials;
    const slot = this.admission.connection({ uid, pid, tenant: tenantOf({ uid, pid }) });
    if (slot === undefined) {
      closeSync(pidfd);
      socket.destroy();
      return;
    }
    const attribution = instances.attribute(credentials);
    if (attribution.kind === 'unidentified') {
      slot.release();
      return this.#refuse(socket, attribution);
    }
    const connection = new Connection({ socket, slot, attribution, callers: this.callers, clock });
    this.#connections.add(connection);
    void connection.closed.then(() => this.#connections.delete(connection));
    void this.#handOver(socket, connection);
  }

  #refuse(socket: Socket, { reason, detail }: Unidentified): void {
    this.refusals.add(reason, detail);
    socket.destroy();
  }

  async #handOver(socket: Socket, connection: Connection): Promise<void> {
    if (connection.over) return connection.destroy();
    const ready = await this.#firstRequest(socket, connection);
    if (ready === undefined) return connection.destroy();
    connection.name(ready.socket);
    if (connection.over) return connection.destroy();
    // A rewritten one may not have asked anything yet.
    if (!ready.rewritten) this.#options.asked?.(connection.caller.instance);
    this.#options.inject(ready.socket);
  }

  /** What to hand over, or `undefined` when the peer went away or was refused. */
  async #firstRequest(socket: Socket, { caller }: Connection): Promise<ReadyConnection | undefined> {
    const { prefaceTimeout, maxHeaderBytes } = this.#limits;
    const limits = { prefaceTimeout, maxHeaderBytes, idleBeforeRewriter: IDLE_BEFORE_REWRITER_MS };
    try {
      return await awaitFirstRequest(socket, limits, socketPair, this.#options.clock);
    } catch (error) {
      this.refusals.add('first-request', messageOf(error), { pid: caller.instance.pid, uid: caller.instance.uid });
      return undefined;
    }
  }
}
