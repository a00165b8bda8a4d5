import { once } from 'node:events';
import { connect } from 'node:net';
import { busCall } from '../../agent/attest/systemd/dbus/bus.ts';
import { decode, encodeCall, sizeOf } from '../../agent/attest/systemd/dbus/message.ts';
import { encode, type Field, message } from './message-bus.ts';

/** Somebody on a real bus who means no good. */
export interface Stranger {
  /** `:1.7` */
  readonly name: string;
  /**
   * Sends the signal that systemd sends when a unit has changed to one connection alone, which no match of its own keeps out.
   *
   * @param options `claims`: whom it says that it is from; `size`: of what is in it, in bytes
   */
  signal(to: string, options: { readonly claims?: string; readonly size?: number }): void;
  close(): Promise<void>;
}

export async function connectStranger(path: string): Promise<Stranger> {
  const socket = connect(path);
  await once(socket, 'connect');
  socket.write(`\0AUTH EXTERNAL ${Buffer.from(String(process.geteuid?.())).toString('hex')}\r\n`);
  await once(socket, 'data');
  socket.write('BEGIN\r\n');
  socket.write(encodeCall(busCall('Hello'), 1));
  const [answer] = (await once(socket, 'data')) as [Buffer];
  const [name] = decode(answer.subarray(0, sizeOf(answer))).body;
  if (typeof name !== 'string') throw new Error('the bus gives no name');
  socket.resume();
  return {
    name,
    signal(to, { claims, size = 0 }) {
      const fields: Field[] = [
        [1, 'o', '/org/freedesktop/systemd1/unit/payments_2eservice'],
        [2, 's', 'org.freedesktop.DBus.Properties'],
        [3, 's', 'PropertiesChanged'],
        [6, 's', to],
        ...(claims === undefined ? [] : [[7, 's', claims] as const]),
      ];
      const length = Buffer.alloc(4);
      length.writeUInt32LE(size);
      socket.write(message(4, 0, fields, 'say', Buffer.concat([encode('s', ['abc']), length, Buffer.alloc(size)])));
    },
    async close() {
      socket.destroy();
      await once(socket, 'close');
    },
  };
}
