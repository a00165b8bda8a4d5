import { closeSync, fchmodSync } from 'node:fs';
import { Socket } from 'node:net';
import { checked, errorName, libc } from './native.ts';
import { peerCredentials } from './pidfd.ts';

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;

/** What a path in `sun_path` may have, the NUL behind it not counted. */
export const MAX_PATH_BYTES = 107;

/**
 * Binds a new stream socket to `path` with `mode`, less what the umask takes away: the file never has more, not for a moment.
 * Nobody can connect before somebody listens on the descriptor, which is the caller's to close.
 *
 * @throws Error with `code`: `EADDRINUSE`, `EACCES`, …
 */
export function bindUnixSocket(path: string, mode: number): number {
  const fd = checked('socket', libc.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  try {
    // Linux gives the file the mode of the unbound socket.
    fchmodSync(fd, mode);
    const address = addressOfPath(path);
    checked('bind', libc.bind(fd, address, address.length));
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * Who listens at `path`: their pid, 0 when it is not told; `nobody` when the file is there without a listener, `absent` without
 * the file.
 *
 * @throws Error with `code`: `EACCES` when the agent may not ask
 */
export function listenerAt(path: string): { readonly pid: number } | 'nobody' | 'absent' {
  const fd = checked('socket', libc.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  try {
    const address = addressOfPath(path);
    // The credentials of the other side are those of whoever called listen().
    if (libc.connect(fd, address, address.length) === 0) return { pid: peerCredentials(fd).pid };
    const code = errorName();
    if (code === 'ECONNREFUSED') return 'nobody';
    if (code === 'ENOENT') return 'absent';
    // EAGAIN: its queue is full; EPROTOTYPE: it is a socket of another type. Both are in use.
    if (code === 'EAGAIN' || code === 'EPROTOTYPE') return { pid: 0 };
    return { pid: checked('connect', -1) };
  } finally {
    closeSync(fd);
  }
}

/**
 * Two connected descriptors, the caller's to close.
 *
 * @throws Error with `code`: `EMFILE`, …
 */
export function descriptorPair(): [number, number] {
  const fds = Buffer.alloc(8);
  checked('socketpair', libc.socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds));
  return [fds.readInt32LE(0), fds.readInt32LE(4)];
}

/**
 * Two connected sockets that are both ours, each with a descriptor of its own.
 *
 * @throws Error with `code`: `EMFILE`, …
 */
export function socketPair(): [Socket, Socket] {
  const [left, right] = descriptorPair();
  return [
    new Socket({ fd: left, readable: true, writable: true }),
    new Socket({ fd: right, readable: true, writable: true }),
  ];
}

function addressOfPath(path: string): Buffer {
  const address = Buffer.alloc(2 + MAX_PATH_BYTES + 1);
  address.writeUInt16LE(AF_UNIX, 0);
  address.write(path, 2, 'utf8');
  return address;
}
