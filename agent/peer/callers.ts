import { MayflyError } from '../kernel/errors.ts';
import type { ConnectionSlot } from './admission.ts';
import { endText, type ProcessInstance } from './instance.ts';

/** Who is at the other end of a connection. */
export interface Caller {
  /** What a handler's `call.getPeer()` says. */
  readonly connectionId: string;
  readonly instance: ProcessInstance;
  /**
   * Admits one more call on this connection; returns what to do when it is over.
   *
   * @throws MayflyError `OVER_LIMIT`
   */
  readonly call: ConnectionSlot['call'];
}

/** The callers of one socket, by connection. */
export class Callers {
  readonly #name: string;
  readonly #byId = new Map<string, Caller>();
  #count = 0;

  /** @param name of the socket: a connection of one socket is unknown to the callers of another */
  constructor(name: string) {
    this.#name = name;
  }

  /** How many connections have a caller. */
  get size(): number {
    return this.#byId.size;
  }

  /** Registers a connection under an id that no other ever has. */
  add(instance: ProcessInstance, slot: ConnectionSlot): Caller {
    const connectionId = `${this.#name}-${++this.#count}`;
    const caller: Caller = { connectionId, instance, call: slot.call };
    this.#byId.set(connectionId, caller);
    return caller;
  }

  remove(connectionId: string): void {
    this.#byId.delete(connectionId);
  }

  /**
   * The caller behind a connection, who lives and is who connected: the kernel is asked now.
   *
   * @param peerId what `call.getPeer()` says
   * @throws MayflyError `CALLER_UNKNOWN` for a connection that is closed or was never opened here, and for a process that is over
   */
  of(peerId: string): Caller {
    const caller = this.#byId.get(peerId);
    if (caller === undefined) throw new MayflyError('CALLER_UNKNOWN', `no caller is known for connection ${peerId}`);
    const { instance } = caller;
    if (instance.alive()) return caller;
    throw new MayflyError(
      'CALLER_UNKNOWN',
      `process ${instance.pid}, which opened connection ${peerId}, ${endText(instance.end)}`,
    );
  }
}
