import { Socket } from 'node:net';
import koffi from 'koffi';

const AF_UNIX = 1;
const SOCK_STREAM_CLOEXEC = 1 | 0o2000000;

const socketpair = koffi.load(null).func('int socketpair(int, int, int, _Out_ int *)') as unknown as (
  domain: number,
  type: number,
  protocol: number,
  fds: [number, number],
) => number;

/** Two connected Unix sockets. The test that makes them destroys them. */
export function socketPair(): [Socket, Socket] {
  const fds: [number, number] = [-1, -1];
  if (socketpair(AF_UNIX, SOCK_STREAM_CLOEXEC, 0, fds) !== 0) throw new Error('socketpair failed');
  return [
    new Socket({ fd: fds[0], readable: true, writable: true }),
    new Socket({ fd: fds[1], readable: true, writable: true }),
  ];
}
