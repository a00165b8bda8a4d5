import { closeSync } from 'node:fs';
import { checked, libc, uninterrupted } from './native.ts';
import { MAX_PATH_BYTES } from './unix-socket.ts';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;

/**
 * Sends one datagram to a Unix socket, for which Node has nothing. Never waits.
 *
 * @param path where it is; with `@` in front it is a name in the abstract namespace
 * @throws Error with `code`: `ENOENT`, `ECONNREFUSED`, `EAGAIN` when its queue is full, `ENAMETOOLONG`
 */
export function sendDatagram(path: string, text: string): void {
  const address = addressOf(path);
  const fd = checked('socket', libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  try {
    checked('connect', libc.connect(fd, address, address.length));
    const bytes = Buffer.from(text, 'utf8');
    checked(
      'send',
      uninterrupted(() => libc.send(fd, bytes, bytes.length, MSG_NOSIGNAL)),
    );
  } finally {
    closeSync(fd);
  }
}

/** As long as the path: in the abstract namespace every byte counts. */
function addressOf(path: string): Buffer {
  const name = Buffer.from(path, 'utf8');
  if (name.length > MAX_PATH_BYTES) {
    throw Object.assign(new Error(`ENAMETOOLONG: ${path} is longer than a socket's path`), { code: 'ENAMETOOLONG' });
  }
  const address = Buffer.alloc(2 + name.length);
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  if (path.startsWith('@')) address[2] = 0;
  return address;
}
