import { rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { decode, type Message, sizeOf } from '../../agent/attest/systemd/dbus/message.ts';
import type { Value } from '../../agent/attest/systemd/dbus/values.ts';

/** A unit that {@link SystemdOnBus} knows. */
export interface KnownUnit {
  id: string;
  fragmentPath: string;
  invocation: string;
  state: string;
}

/** The name of systemd's own connection. */
const SYSTEMD = ':1.0';

interface Client {
  readonly socket: Socket;
  readonly matches: Set<string>;
  subscribed: boolean;
}

/**
 * systemd behind a message bus, on a real socket and in the bytes of D-Bus, which it writes by itself: what the agent's own code agrees
 * on with nobody else does not pass.
 */
export class SystemdOnBus {
  readonly units = new Map<string, KnownUnit>();
  /** Which unit a process is in. */
  readonly unitOf = new Map<number, string>();
  /** Every call that came, by its member. */
  readonly calls: string[] = [];
  /** Answers in the place of what would be said; `undefined`: as usual. `never`: not at all. */
  answer: (call: Message) => Buffer | 'never' | undefined = () => undefined;
  /** The members of calls that are heeded and whose answers are lost. */
  readonly mute = new Set<string>();
  /** What is answered to the authentication. */
  greeting = 'OK 0123456789abcdef0123456789abcdef\r\n';
  readonly path: string;
  readonly #clients = new Set<Client>();
  #server: Server | undefined;

  constructor(path: string) {
    this.path = path;
  }

  get connections(): number {
    return this.#clients.size;
  }

  /** Whether somebody is told of units. */
  get followed(): boolean {
    return [...this.#clients].some(({ matches, subscribed }) => subscribed && matches.size > 0);
  }

  async start(): Promise<void> {
    rmSync(this.path, { force: true });
    this.#server = createServer((socket) => this.#accept(socket));
    await new Promise<void>((listening) => this.#server?.listen(this.path, listening));
  }

  /** Ends all connections, and takes no more. */
  async stop(): Promise<void> {
    for (const { socket } of this.#clients) socket.destroy();
    await new Promise<void>((closed) => this.#server?.close(() => closed()));
  }

  /** Changes a unit, and tells who has asked to be. */
  change(id: string, change: Partial<KnownUnit>): void {
    const unit = this.units.get(id);
    if (unit === undefined) throw new Error(`no unit ${id}`);
    Object.assign(unit, change);
    this.tell(id);
  }

  /**
   * Tells who has asked to be that a unit has changed.
   *
   * @param sender whom the bus says that it is from
   */
  tell(id: string, sender = SYSTEMD): void {
    const body = encode('sa{sv}as', [
      'org.freedesktop.systemd1.Unit',
      [['ActiveState', ['s', this.units.get(id)?.state ?? '']]],
      [],
    ]);
    const fields: Field[] = [
      [1, 'o', pathOf(id)],
      [2, 's', 'org.freedesktop.DBus.Properties'],
      [3, 's', 'PropertiesChanged'],
      [7, 's', sender],
    ];
    for (const { socket, matches, subscribed } of this.#clients) {
      if (subscribed && matches.size > 0) socket.write(message(4, 0, fields, 'sa{sv}as', body));
    }
  }

  /** Tells who has asked to be that somebody else is systemd now, as after its re-execution. */
  tellOwner(): void {
    const fields: Field[] = [
      [1, 'o', '/org/freedesktop/DBus'],
      [2, 's', 'org.freedesktop.DBus'],
      [3, 's', 'NameOwnerChanged'],
      [7, 's', 'org.freedesktop.DBus'],
    ];
    const body = encode('sss', ['org.freedesktop.systemd1', SYSTEMD, ':1.9']);
    for (const { socket, matches } of this.#clients) {
      if ([...matches].some((match) => match.includes('NameOwnerChanged'))) {
        socket.write(message(4, 0, fields, 'sss', body));
      }
    }
  }

  #accept(socket: Socket): void {
    const client: Client = { socket, matches: new Set(), subscribed: false };
    this.#clients.add(client);
    socket.on('close', () => this.#clients.delete(client));
    socket.on('error', () => undefined);
    let begun = false;
    let received: Buffer = Buffer.alloc(0);
    socket.on('data', (bytes: Buffer) => {
      received = Buffer.concat([received, bytes]);
      while (!begun) {
        const end = received.indexOf('\r\n');
        if (end < 0) return;
        const line = received.toString('latin1', 0, end);
        received = received.subarray(end + 2);
        if (line.startsWith('\0AUTH EXTERNAL ')) socket.write(this.greeting);
        begun = line === 'BEGIN';
      }
      for (let size = sizeOf(received); size !== undefined && size <= received.length; size = sizeOf(received)) {
        const call = decode(received.subarray(0, size));
        received = received.subarray(size);
        this.#answer(client, call);
      }
    });
  }

  #answer(client: Client, call: Message): void {
    this.calls.push(call.member);
    const answer = this.answer(call) ?? this.#usual(client, call);
    if (answer !== 'never' && !this.mute.has(call.member)) client.socket.write(answer);
  }

  #usual(client: Client, call: Message): Buffer {
    const [argument] = call.body;
    switch (call.member) {
      case 'Hello':
        return returned(call, 's', [':1.42']);
      case 'AddMatch':
        client.matches.add(textOf(argument));
        return returned(call, '', []);
      case 'RemoveMatch':
        client.matches.delete(textOf(argument));
        return returned(call, '', []);
      case 'Subscribe':
        if (client.subscribed) return failed(call, 'org.freedesktop.systemd1.AlreadySubscribed', 'already');
        client.subscribed = true;
        return returned(call, '', []);
      case 'Unsubscribe':
        client.subscribed = false;
        return returned(call, '', []);
      case 'GetNameOwner':
        return returned(call, 's', [SYSTEMD]);
      case 'GetUnitByPID': {
        const id = this.unitOf.get(Number(argument));
        return id === undefined
          ? failed(call, 'org.freedesktop.systemd1.NoUnitForPID', 'it belongs to no loaded unit')
          : returned(call, 'o', [pathOf(id)]);
      }
      case 'GetAll':
        return returned(call, 'a{sv}', [
          properties([...this.units.values()].find(({ id }) => pathOf(id) === call.path)),
        ]);
      default:
        return failed(call, 'org.freedesktop.DBus.Error.UnknownMethod', call.member);
    }
  }
}

/** Of a unit that nobody knows systemd says that it does not run. */
function properties(unit: KnownUnit | undefined): [string, [string, Plain]][] {
  return [
    ['Id', ['s', unit?.id ?? 'unknown.service']],
    ['Documentation', ['as', ['man:x(1)', 'https://example.org/']]],
    ['Job', ['(uo)', [0, '/']]],
    ['Conditions', ['a(sbbsi)', [['ConditionPathExists', false, true, '/x', -1]]]],
    ['ActiveEnterTimestamp', ['t', 1_700_000_000_000_000n]],
    ['FragmentPath', ['s', unit?.fragmentPath ?? '']],
    ['InvocationID', ['ay', [...Buffer.from(unit?.invocation ?? '', 'hex')]]],
    ['ActiveState', ['s', unit?.state ?? 'inactive']],
  ];
}

/** An answer that returns something. */
export function returned(call: Message, signature: string, values: readonly Plain[]): Buffer {
  return message(2, call.serial, [[7, 's', ':1.1']], signature, encode(signature, values));
}

/** An answer that is an error. */
export function failed(call: Message, error: string, text: string): Buffer {
  return message(3, call.serial, [[4, 's', error]], 's', encode('s', [text]));
}

/** What can be written: a variant is its signature and its value, a dictionary a list of pairs. */
export type Plain = string | number | bigint | boolean | readonly Plain[];
export type Field = readonly [code: number, type: string, value: Plain];

/** A whole message, with the serial 7. */
export function message(
  kind: number,
  replyTo: number,
  fields: readonly Field[],
  signature: string,
  body: Buffer,
): Buffer {
  const all: Plain[] = [
    ...fields.map(([code, type, value]) => [code, [type, value]]),
    ...(replyTo === 0 ? [] : [[5, ['u', replyTo]]]),
    ...(signature === '' ? [] : [[8, ['g', signature]]]),
  ];
  const header = new Encoder([0x6c, kind, 0, 1]);
  header.value('u', body.length);
  header.value('u', 7);
  header.value('a(yv)', all);
  header.align(8);
  return Buffer.concat([Buffer.from(header.bytes), body]);
}

/** The bytes of values, as they stand behind a header. */
export function encode(signature: string, values: readonly Plain[]): Buffer {
  const encoder = new Encoder();
  let rest = signature;
  for (const value of values) {
    const [type, more] = firstType(rest);
    encoder.value(type, value);
    rest = more;
  }
  return Buffer.from(encoder.bytes);
}

class Encoder {
  readonly bytes: number[];

  constructor(bytes: number[] = []) {
    this.bytes = bytes;
  }

  align(size: number): void {
    while (this.bytes.length % size !== 0) this.bytes.push(0);
  }

  value(type: string, value: Plain): void {
    const list = (Array.isArray(value) ? value : []) as readonly Plain[];
    switch (type.charAt(0)) {
      case 'y':
        this.bytes.push(Number(value));
        return;
      case 'n':
      case 'q':
        return this.#number(BigInt(Number(value)), 2);
      case 'b':
      case 'i':
      case 'u':
      case 'h':
        return this.#number(BigInt(Number(value)), 4);
      case 'x':
      case 't':
        return this.#number(value as bigint, 8);
      case 's':
      case 'o': {
        const text = Buffer.from(String(value));
        this.#number(BigInt(text.length), 4);
        this.bytes.push(...text, 0);
        return;
      }
      case 'g':
        this.bytes.push(String(value).length, ...Buffer.from(String(value)), 0);
        return;
      case 'v': {
        const [signature = '', inner = 0] = list;
        this.value('g', signature);
        return this.value(String(signature), inner);
      }
      case 'a':
        return this.#array(type.slice(1), list);
      default: {
        this.align(8);
        let rest = type.slice(1, -1);
        for (const each of list) {
          const [first, more] = firstType(rest);
          this.value(first, each);
          rest = more;
        }
      }
    }
  }

  #array(of: string, list: readonly Plain[]): void {
    this.#number(0n, 4);
    const sizeAt = this.bytes.length - 4;
    this.align(
      ['(', '{', 'x', 't', 'd'].includes(of[0] ?? '')
        ? 8
        : ['n', 'q'].includes(of)
          ? 2
          : 'ygv'.includes(of[0] ?? '')
            ? 1
            : 4,
    );
    const start = this.bytes.length;
    for (const each of list) this.value(of, each);
    const size = Buffer.alloc(4);
    size.writeUInt32LE(this.bytes.length - start);
    this.bytes.splice(sizeAt, 4, ...size);
  }

  #number(value: bigint, size: number): void {
    this.align(size);
    for (let index = 0n; index < BigInt(size); index += 1n) this.bytes.push(Number((value >> (8n * index)) & 0xffn));
  }
}

function firstType(signature: string): [string, string] {
  const [first = ''] = signature;
  if (first === 'a') {
    const [of, rest] = firstType(signature.slice(1));
    return [`a${of}`, rest];
  }
  if (first !== '(' && first !== '{') return [first, signature.slice(1)];
  let depth = 0;
  for (const [index, character] of signature.split('').entries()) {
    if ('({'.includes(character)) depth += 1;
    if (')}'.includes(character)) depth -= 1;
    if (depth === 0) return [signature.slice(0, index + 1), signature.slice(index + 1)];
  }
  throw new Error(`${signature} does not close`);
}

function textOf(value: Value | undefined): string {
  return typeof value === 'string' ? value : '';
}

function pathOf(id: string): string {
  return `/org/freedesktop/systemd1/unit/${id.replaceAll(/[^A-Za-z0-9]/g, (character) => `_${character.charCodeAt(0).toString(16)}`)}`;
}
