import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';

// The program itself: Node is linked to the machine's C library already, so its symbols are the ones that NSS and errno go with.
const library = koffi.load(null);

type Async<A extends unknown[]> = { async(...args: [...A, (error: unknown, result: number) => void]): void };

/** `getpwuid_r(3)`, `getgrgid_r(3)`: id, record, strings, size of strings, where the pointer to the record goes. */
export type NameLookup = Async<[number, Buffer, Buffer, number, Buffer]>;

/**
 * The C library's functions as they are: the only foreign calls of the agent. Structures go in and out as buffers, laid out for
 * Linux on x64 and arm64, which agree on all of them but `struct epoll_event`. What is called through `syscall` or `ioctl` takes
 * its variable arguments in registers on both.
 */
export const libc = {
  getsockopt: library.func('int getsockopt(int, int, int, void *, void *)') as (
    fd: number,
    level: number,
    name: number,
    value: Buffer,
    size: Buffer,
  ) => number,
  socket: library.func('int socket(int, int, int)') as (domain: number, type: number, protocol: number) => number,
  bind: library.func('int bind(int, void *, uint)') as (fd: number, address: Buffer, size: number) => number,
  connect: library.func('int connect(int, void *, uint)') as (fd: number, address: Buffer, size: number) => number,
  setsockopt: library.func('int setsockopt(int, int, int, void *, uint)') as (
    fd: number,
    level: number,
    name: number,
    value: Buffer,
    size: number,
  ) => number,
  send: library.func('long send(int, void *, size_t, int)') as (
    fd: number,
    from: Buffer,
    size: number,
    flags: number,
  ) => number,
  recv: library.func('long recv(int, void *, size_t, int)') as (
    fd: number,
    into: Buffer,
    size: number,
    flags: number,
  ) => number,
  socketpair: library.func('int socketpair(int, int, int, void *)') as (
    domain: number,
    type: number,
    protocol: number,
    fds: Buffer,
  ) => number,
  // glibc has pidfd_open from 2.36 on; the number is the same on every architecture.
  syscall: library.func('long syscall(long, long, long)') as (number: number, a: number, b: number) => number,
  openat2: library.func('long syscall(long, int, str, void *, size_t)') as ((
    number: number,
    directory: number,
    path: string,
    how: Buffer,
    size: number,
  ) => number) &
    Async<[number, number, string, Buffer, number]>,
  ioctl: library.func('int ioctl(int, ulong, void *)') as (fd: number, request: number, argument: Buffer) => number,
  pread: library.func('long pread(int, void *, size_t, int64_t)') as (
    fd: number,
    into: Buffer,
    size: number,
    offset: number,
  ) => number,
  readlink: library.func('long readlink(void *, void *, size_t)') as (
    path: Buffer,
    into: Buffer,
    size: number,
  ) => number,
  statx: library.func('int statx(int, str, int, uint, void *)') as (
    fd: number,
    path: string,
    flags: number,
    mask: number,
    status: Buffer,
  ) => number,
  poll: library.func('int poll(void *, ulong, int)') as (fds: Buffer, count: number, timeout: number) => number,
  epollCreate: library.func('int epoll_create1(int)') as (flags: number) => number,
  epollCtl: library.func('int epoll_ctl(int, int, int, void *)') as (
    epfd: number,
    operation: number,
    fd: number,
    event: Buffer | null,
  ) => number,
  epollWait: library.func('int epoll_wait(int, void *, int, int)') as (
    epfd: number,
    events: Buffer,
    count: number,
    timeout: number,
  ) => number,
  eventfd: library.func('int eventfd(uint, int)') as (value: number, flags: number) => number,
  flock: library.func('int flock(int, int)') as (fd: number, operation: number) => number,
  prctl: library.func('int prctl(int, ulong)') as (option: number, value: number) => number,
  setrlimit: library.func('int setrlimit(int, void *)') as (resource: number, limit: Buffer) => number,
  exit: library.func('void _exit(int)') as (status: number) => void,
  mallocTrim: library.func('int malloc_trim(size_t)') as (pad: number) => number,
  getpwuid: library.func('int getpwuid_r(uint, void *, void *, size_t, void *)') as NameLookup & (() => number),
  getgrgid: library.func('int getgrgid_r(uint, void *, void *, size_t, void *)') as NameLookup & (() => number),
} as const;

/** The name of the last call's errno on this thread: `ENOENT`. */
export function errorName(): string {
  return nameOf(koffi.errno());
}

/** An error as Node makes it of a failed system call, with `code`, `errno` and `syscall`. */
export function systemError(syscall: string, errno: number = koffi.errno()): NodeJS.ErrnoException {
  const code = nameOf(errno);
  return Object.assign(new Error(`${code}: ${syscall} failed`), { code, errno: -errno, syscall });
}

/**
 * Hands the result of a call on when it is not negative.
 *
 * @throws Error with `code`, the name of the errno, otherwise
 */
export function checked(syscall: string, result: number): number {
  if (result < 0) throw systemError(syscall);
  return result;
}

/**
 * Makes a call that never waits, again for as long as a signal gets in its way: a profiler's and a supervisor's come at any time.
 *
 * @returns the result, of which only `EINTR` is taken care of
 */
export function uninterrupted(call: () => number): number {
  for (;;) {
    const result = call();
    if (result >= 0 || errorName() !== 'EINTR') return result;
  }
}

/** Where the bytes of `buffer` are, to turn a pointer into them back into an offset. */
export function addressOf(buffer: Buffer): bigint {
  return koffi.address(buffer);
}

function nameOf(errno: number): string {
  return errno > 0 ? getSystemErrorName(-errno) : 'no error';
}
