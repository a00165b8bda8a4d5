import { connect, type Socket } from 'node:net';
import { HpackEncoder, type WrittenField } from './hpack-encoder.ts';

/** A frame as it was received. */
export interface ReceivedFrame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
export const DATA = 0;
export const HEADERS = 1;
const RST_STREAM = 3;
export const SETTINGS = 4;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;
export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;
export const PADDED = 8;
export const PRIORITY = 0x20;

const DEADLINE_MS = 5000;

export function frameOf(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}

export const SETTINGS_FRAME: Buffer = frameOf(SETTINGS, 0, 0);
export const SETTINGS_ACK: Buffer = frameOf(SETTINGS, ACK, 0);

/** The fields of a gRPC request; `undefined` for no `:authority`. */
export function requestFields(
  path: string,
  authority: string | undefined,
  how: Pick<WrittenField, 'as' | 'nameByIndex' | 'huffman'> = { as: 'indexed', nameByIndex: true, huffman: false },
): WrittenField[] {
  const fields: [string, string][] = [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', path],
    ...(authority === undefined ? [] : [[':authority', authority] as [string, string]]),
    ['te', 'trailers'],
    ['content-type', 'application/grpc'],
  ];
  return fields.map(([name, value]) => ({ name, value, ...how }));
}

/** HTTP/2 by hand on a Unix socket: nothing is sent but what a test says, except for answers to SETTINGS where it asks for them. */
export class Http2Client {
  readonly socket: Socket;
  readonly frames: ReceivedFrame[] = [];
  readonly encoder: HpackEncoder = new HpackEncoder();
  /** The server has said its last. */
  closed = false;
  #rest = Buffer.alloc(0);
  readonly #watchers = new Set<() => void>();

  private constructor(socket: Socket, acknowledge: boolean) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => this.#read(chunk, acknowledge));
    socket.on('error', () => undefined);
    for (const end of ['end', 'close']) {
      socket.on(end, () => {
        this.closed = true;
        this.#wake();
      });
    }
  }

  /** Connects, and sends nothing. `acknowledge`: answers SETTINGS by itself. */
  static async open(path: string, { acknowledge = true } = {}): Promise<Http2Client> {
    const socket = connect({ path, allowHalfOpen: true });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    socket.once('connect', resolve).once('error', reject);
    await promise;
    return new Http2Client(socket, acknowledge);
  }

  /** Speaks over a socket that is connected already. */
  static over(socket: Socket): Http2Client {
    return new Http2Client(socket, true);
  }

  send(...parts: Uint8Array[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** A request without a body, of `fields`. */
  request(stream: number, fields: readonly WrittenField[]): Buffer {
    return frameOf(HEADERS, END_HEADERS | END_STREAM, stream, this.encoder.block(fields));
  }

  /** The first frame that `matches`, those before the call included. */
  async frame(matches: (frame: ReceivedFrame) => boolean): Promise<ReceivedFrame> {
    await this.until(() => this.closed || this.frames.some(matches));
    const found = this.frames.find(matches);
    if (found === undefined) throw new Error('the connection closed before the frame came');
    return found;
  }

  /** The body of the response on `stream`, or `RST <code>`. */
  async response(stream: number): Promise<string> {
    const end = await this.frame(
      ({ type, flags, stream: on }) =>
        on === stream && (type === RST_STREAM || ((type === DATA || type === HEADERS) && (flags & END_STREAM) !== 0)),
    );
    if (end.type === RST_STREAM) return `RST ${end.payload.readUInt32BE(0)}`;
    const data = this.frames.filter((frame) => frame.type === DATA && frame.stream === stream);
    return Buffer.concat(data.map(({ payload }) => payload)).toString();
  }

  async untilClosed(): Promise<void> {
    await this.until(() => this.closed);
  }

  /** Resolves when `condition` holds; it is looked at after each read. Rejects after `deadline` milliseconds. */
  async until(condition: () => boolean, deadline = DEADLINE_MS): Promise<void> {
    if (condition()) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => reject(new Error('the deadline passed')), deadline);
    const look = () => {
      if (condition()) resolve();
    };
    this.#watchers.add(look);
    try {
      await promise;
    } finally {
      this.#watchers.delete(look);
      clearTimeout(timer);
    }
  }

  #read(chunk: Buffer, acknowledge: boolean): void {
    let rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
      const end = 9 + rest.readUIntBE(0, 3);
      const [type, flags] = [rest[3] ?? 0, rest[4] ?? 0];
      this.frames.push({ type, flags, stream: rest.readUInt32BE(5), payload: rest.subarray(9, end) });
      if (acknowledge && type === SETTINGS && (flags & ACK) === 0) this.send(SETTINGS_ACK);
      rest = rest.subarray(end);
    }
    this.#rest = Buffer.from(rest);
    this.#wake();
  }

  #wake(): void {
    for (const look of this.#watchers) look();
  }
}
