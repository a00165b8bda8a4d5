import { Reader } from './reader.ts';
import { MalformedMessage, typesOf, type Value } from './values.ts';

/** What is asked of somebody on the bus. */
export interface MethodCall {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  /** Only texts and 32-bit numbers: nothing else is ever said. */
  readonly arguments: readonly (string | number)[];
}

/** What a message is, before anybody looks into it. What was left out is empty; a message of a kind that nobody knows is `unknown`. */
export interface Header {
  readonly kind: 'call' | 'return' | 'error' | 'signal' | 'unknown';
  readonly serial: number;
  /** Which call it answers. */
  readonly replyTo: number | undefined;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly error: string;
  /** Who has sent it, as the bus says and nobody else can: `:1.7`, or the name of the bus itself. */
  readonly sender: string;
}

/** A message that came, as a whole. */
export interface Message extends Header {
  readonly body: readonly Value[];
}

const KINDS = ['unknown', 'call', 'return', 'error', 'signal'] as const;
const LITTLE = 'l'.charCodeAt(0);
const BIG = 'B'.charCodeAt(0);
const VERSION = 1;
const CALL = 1;
const FIXED_HEADER = 16;
// Fields of the header.
const PATH = 1;
const INTERFACE = 2;
const MEMBER = 3;
const ERROR_NAME = 4;
const REPLY_SERIAL = 5;
const DESTINATION = 6;
const SENDER = 7;
const SIGNATURE = 8;
// No bus takes more.
const LARGEST = 128 * 1024 ** 2;

/** The bytes of a call, in the order of bytes that all machines agree on by now. */
export function encodeCall(call: MethodCall, serial: number): Buffer {
  const body = new Writer();
  for (const argument of call.arguments) body.argument(argument);
  const signature = call.arguments.map((argument) => (typeof argument === 'string' ? 's' : 'u')).join('');
  const fields = new Writer();
  fields.field(PATH, 'o', call.path);
  fields.field(INTERFACE, 's', call.interface);
  fields.field(MEMBER, 's', call.member);
  fields.field(DESTINATION, 's', call.destination);
  if (signature !== '') fields.field(SIGNATURE, 'g', signature);
  const header = Buffer.alloc(FIXED_HEADER);
  header.set([LITTLE, CALL, 0, VERSION]);
  header.writeUInt32LE(body.bytes.length, 4);
  header.writeUInt32LE(serial, 8);
  header.writeUInt32LE(fields.bytes.length, 12);
  // The array of fields begins at 16, a multiple of eight, so what is aligned in it is aligned in the message.
  fields.align(8);
  return Buffer.concat([header, fields.bytes, body.bytes]);
}

/**
 * How many bytes the message has that `bytes` begins with; `undefined` while that cannot be told yet.
 *
 * @throws MalformedMessage
 */
export function sizeOf(bytes: Buffer): number | undefined {
  if (bytes.length < FIXED_HEADER) return undefined;
  const little = isLittle(bytes);
  const [body, fields] = [4, 12].map((at) => (little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at)));
  const size = FIXED_HEADER + Math.ceil((fields ?? 0) / 8) * 8 + (body ?? 0);
  if (size > LARGEST) throw new MalformedMessage(`a message has ${size} bytes`);
  return size;
}

/**
 * Reads what stands in front of one whole message.
 *
 * @throws MalformedMessage
 */
export function decodeHeader(bytes: Buffer): Header {
  return opened(bytes).header;
}

/**
 * Reads one whole message.
 *
 * @throws MalformedMessage
 */
export function decode(bytes: Buffer): Message {
  const { header, reader, signature } = opened(bytes);
  const body = reader.values(typesOf(signature));
  if (reader.at !== bytes.length) throw new MalformedMessage('a message is longer than what is in it');
  return { ...header, body };
}

/** A header, and a reader at the body. */
function opened(bytes: Buffer): { readonly header: Header; readonly reader: Reader; readonly signature: string } {
  const little = isLittle(bytes);
  if (bytes[3] !== VERSION) throw new MalformedMessage('a message is of another version');
  const reader = new Reader(bytes, little, 8);
  const [serial, entries] = reader.values(HEADER);
  reader.align(8);
  const fields = fieldsOf(entries);
  const text = (code: number): string => {
    const value = fields.get(code) ?? '';
    if (typeof value !== 'string') throw new MalformedMessage('a field of a header is no text');
    return value;
  };
  const replyTo = fields.get(REPLY_SERIAL);
  const header: Header = {
    kind: KINDS[bytes[1] ?? 0] ?? 'unknown',
    serial: Number(serial),
    replyTo: typeof replyTo === 'number' ? replyTo : undefined,
    path: text(PATH),
    interface: text(INTERFACE),
    member: text(MEMBER),
    error: text(ERROR_NAME),
    sender: text(SENDER),
  };
  return { header, reader, signature: text(SIGNATURE) };
}

// From the serial on: the serial, and the array of fields.
const HEADER = typesOf('ua(yv)');

function fieldsOf(entries: Value | undefined): ReadonlyMap<number, Value> {
  if (!Array.isArray(entries)) throw new MalformedMessage('a message has no header');
  const fields = new Map<number, Value>();
  for (const entry of entries) {
    const [code, value] = Array.isArray(entry) ? entry : [];
    if (typeof code === 'number' && value !== undefined) fields.set(code, value);
  }
  return fields;
}

function isLittle(bytes: Buffer): boolean {
  if (bytes[0] !== LITTLE && bytes[0] !== BIG) throw new MalformedMessage('a message has no known order of bytes');
  return bytes[0] === LITTLE;
}

/** Writes what is said, in little endian. */
class Writer {
  bytes: Buffer = Buffer.alloc(0);

  argument(value: string | number): void {
    this.align(4);
    if (typeof value === 'string') this.#text(value);
    else this.#uint32(value);
  }

  field(code: number, type: 'o' | 's' | 'g', value: string): void {
    this.align(8);
    this.#add(Buffer.from([code, 1, type.charCodeAt(0), 0]));
    // A signature has a length of one byte, and is not aligned.
    if (type === 'g') this.#add(Buffer.from(`${String.fromCharCode(value.length)}${value}\0`, 'latin1'));
    else this.#text(value);
  }

  align(size: number): void {
    this.#add(Buffer.alloc((size - (this.bytes.length % size)) % size));
  }

  #text(value: string): void {
    const text = Buffer.from(value, 'utf8');
    this.#uint32(text.length);
    this.#add(text);
    this.#add(Buffer.alloc(1));
  }

  #uint32(value: number): void {
    const number = Buffer.alloc(4);
    number.writeUInt32LE(value, 0);
    this.#add(number);
  }

  #add(bytes: Buffer): void {
    this.bytes = Buffer.concat([this.bytes, bytes]);
  }
}
