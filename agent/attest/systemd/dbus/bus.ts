import { connect, type Socket } from 'node:net';
import { asError } from '../../../kernel/errors.ts';
import { decode, decodeHeader, encodeCall, type Header, type MethodCall, sizeOf } from './message.ts';
import type { Value } from './values.ts';

/** What the other side answers instead of a result: `org.freedesktop.systemd1.NoSuchUnit`, and a sentence. */
export class BusError extends Error {
  override readonly name = 'BusError';
  readonly error: string;

  constructor(error: string, message: string) {
    super(`${error}: ${message}`);
    this.error = error;
  }
}

/** What can be asked of a bus. */
export interface Bus {
  /**
   * Resolves with what the call returns.
   *
   * @throws BusError for an answer that is an error; Error when the connection is or gets closed; the reason of `signal`
   */
  call(call: MethodCall, signal: AbortSignal): Promise<readonly Value[]>;
  /** Calls `run` with each signal that comes, from whomever, without what is in it; returns how to stop that. */
  onSignal(run: (signal: Header) => void): () => void;
  /** Resolves once the connection is over, whoever ended it, before anybody who waits is told. */
  readonly closed: Promise<void>;
  close(): void;
}

interface Waiting {
  readonly resolve: (body: readonly Value[]) => void;
  readonly reject: (error: unknown) => void;
}

const BUS = {
  destination: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
} as const;
// Of the authentication, whose lines are some forty bytes.
const LONGEST_LINE = 512;
// All that systemd says of a unit has some kilobytes, for the largest target a few hundred.
const LARGEST_TAKEN = 1024 ** 2;

/**
 * A call to the bus itself.
 *
 * @param member such as `AddMatch`
 */
export function busCall(member: string, ...argument: readonly string[]): MethodCall {
  return { ...BUS, member, arguments: argument };
}

/**
 * A connection to a message bus on a Unix socket. Of D-Bus it has what the agent needs: to authenticate, to call, to hear signals.
 *
 * It is our own since what there is on npm reads messages that it trusts (no bound on depth or size), brings an XML parser and an
 * object model along that nobody here asks for, and is young or has not been touched for years. Descriptors are not passed: that a
 * number stays that of one process is what the held pidfd is for.
 *
 * Everybody on the bus may send a signal to the agent, of up to 128 MiB and as many as he likes. So nobody's signal is read beyond its
 * header, and what is larger than any answer is passed over: neither costs much, nor ends the connection.
 *
 * @throws Error when nobody listens, refuses the agent, or does not speak D-Bus; the reason of `signal`
 */
export async function connectBus(path: string, signal: AbortSignal): Promise<Bus> {
  signal.throwIfAborted();
  const connection = new Connection(connect(path));
  const stop = (): void => connection.fail(asError(signal.reason));
  signal.addEventListener('abort', stop);
  try {
    await connection.authenticated;
    // The bus talks to nobody who has not said hello.
    await connection.call(busCall('Hello'), signal);
    return connection;
  } catch (error) {
    connection.close();
    throw error;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

class Connection implements Bus {
  readonly authenticated: Promise<void>;
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  readonly #followers = new Set<(signal: Header) => void>();
  #received: Buffer = Buffer.alloc(0);
  /** How many bytes are to come of a message that is passed over. */
  #passing = 0;
  #begun: (() => void) | undefined;
  readonly #over = Promise.withResolvers<void>();
  #failure: Error | undefined;
  #lastSerial = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
    const authenticated = Promise.withResolvers<void>();
    this.authenticated = authenticated.promise;
    this.closed = this.#over.promise;
    this.#begun = authenticated.resolve;
    void this.closed.then(() => authenticated.reject(this.#failure));
    socket.on('connect', () => socket.write(`\0AUTH EXTERNAL ${externalIdentity()}\r\n`));
    socket.on('data', (bytes: Buffer) => this.#receive(bytes));
    socket.on('error', (error) => this.fail(error));
    socket.on('close', () => this.fail(new Error('the message bus has closed the connection')));
  }

  call(call: MethodCall, signal: AbortSignal): Promise<readonly Value[]> {
    if (signal.aborted) return Promise.reject(asError(signal.reason));
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    this.#lastSerial = (this.#lastSerial % 0xffff_ffff) + 1;
    const serial = this.#lastSerial;
    const { promise, resolve, reject } = Promise.withResolvers<readonly Value[]>();
    const abort = (): void => reject(signal.reason);
    signal.addEventListener('abort', abort);
    this.#waiting.set(serial, { resolve, reject });
    this.#socket.write(encodeCall(call, serial));
    return promise.finally(() => {
      signal.removeEventListener('abort', abort);
      this.#waiting.delete(serial);
    });
  }

  onSignal(run: (signal: Header) => void): () => void {
    this.#followers.add(run);
    return () => void this.#followers.delete(run);
  }

  close(): void {
    this.fail(new Error('the connection to the message bus is closed'));
  }

  /** Closes the connection, and tells everybody who waits why. */
  fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#over.resolve();
    this.#socket.destroy();
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    this.#followers.clear();
  }

  #receive(received: Buffer): void {
    const passed = Math.min(this.#passing, received.length);
    this.#passing -= passed;
    const bytes = received.subarray(passed);
    this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes]);
    try {
      if (this.#begun !== undefined) this.#authenticate();
      if (this.#begun === undefined) this.#takeMessages();
    } catch (error) {
      this.fail(new Error('the message bus does not speak D-Bus', { cause: error }));
    }
  }

  #authenticate(): void {
    const end = this.#received.indexOf('\r\n');
    if (end < 0 && this.#received.length < LONGEST_LINE) return;
    const line = this.#received.toString('latin1', 0, Math.min(Math.max(end, 0), LONGEST_LINE));
    if (!line.startsWith('OK ')) {
      this.fail(new Error(`the message bus refuses the agent: ${JSON.stringify(line)}`));
      return;
    }
    this.#received = this.#received.subarray(end + 2);
    this.#socket.write('BEGIN\r\n');
    this.#begun?.();
    this.#begun = undefined;
  }

  #takeMessages(): void {
    for (;;) {
      const size = sizeOf(this.#received);
      if (size === undefined) return;
      const here = Math.min(size, this.#received.length);
      if (size > LARGEST_TAKEN) this.#passing = size - here;
      else if (here < size) return;
      else this.#take(this.#received.subarray(0, size));
      this.#received = this.#received.subarray(here);
    }
  }

  #take(bytes: Buffer): void {
    const header = decodeHeader(bytes);
    const { error, kind, replyTo } = header;
    if (kind === 'signal') for (const follower of this.#followers) follower(header);
    // A call that comes here gets no answer: nobody has a reason to call the agent, and the bus tells who waits.
    const waiting = replyTo === undefined ? undefined : this.#waiting.get(replyTo);
    if (waiting === undefined || (kind !== 'return' && kind !== 'error')) return;
    const { body } = decode(bytes);
    if (kind === 'return') waiting.resolve(body);
    else waiting.reject(new BusError(error, typeof body[0] === 'string' ? body[0] : ''));
  }
}

/** The uid in decimal, written in hexadecimal as the specification has it; the kernel tells the bus whether it is true. */
function externalIdentity(): string {
  return Buffer.from(String(process.geteuid?.() ?? 0)).toString('hex');
}
