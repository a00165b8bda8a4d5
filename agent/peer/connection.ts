import type { Socket } from 'node:net';
import type { Alarm, Clock } from '../kernel/clock.ts';
import type { ConnectionSlot } from './admission.ts';
import type { Caller, Callers } from './callers.ts';
import type { Attribution } from './process.ts';

// Streams end with their reason when the instance does; what is still open after this is cut.
const GRACE_MS = 1000;

/** What a connection holds as long as it is open. */
export interface ConnectionParts {
  readonly socket: Socket;
  readonly slot: ConnectionSlot;
  readonly attribution: Attribution;
  readonly callers: Callers;
  readonly clock: Clock;
}

/** An open connection of a known caller: gives everything back when it closes, and does not outlive the caller for long. */
export class Connection {
  readonly caller: Caller;
  /** Resolves when it is closed and everything is given back. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  #far: Socket | undefined;

  constructor({ socket, slot, attribution, callers, clock }: ConnectionParts) {
    this.#socket = socket;
    this.caller = callers.add(attribution.instance, slot);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    let grace: Alarm | undefined;
    const forget = attribution.instance.onEnd(() => {
      grace = clock.after(GRACE_MS, () => this.destroy());
    });
    socket.once('close', () => {
      forget();
      grace?.cancel();
      this.#far?.destroy();
      callers.remove(this.caller.connectionId);
      slot.release();
      attribution.release();
      resolve();
    });
  }

  /** True when nobody is there to be served any more. */
  get over(): boolean {
    return this.#socket.destroyed || this.caller.instance.end !== undefined;
  }

  /**
   * Names `socket`, this connection's own or the far end of a pair that it was joined to, so that a handler's `call.getPeer()` says
   * the connection's id; the far end is destroyed with the connection.
   */
  name(socket: Socket): void {
    if (socket !== this.#socket) this.#far = socket;
    Object.defineProperty(socket, 'remoteAddress', { value: this.caller.connectionId });
  }

  destroy(): void {
    this.#socket.destroy();
    this.#far?.destroy();
  }
}
