import { checked, errorName, libc } from './native.ts';

const CLOEXEC = 0o2000000;
const NONBLOCK = 0o4000;
const CTL_ADD = 1;
const CTL_DEL = 2;
const CTL_MOD = 3;
const EPOLLIN = 1;
const EPOLLONESHOT = 1 << 30;
// x64 packs `struct epoll_event { uint32_t events; uint64_t data; }`, everybody else aligns it.
const DATA_AT = process.arch === 'x64' ? 4 : 8;
const EVENT_SIZE = DATA_AT + 8;
const MAX_EVENTS = 1024;

/**
 * The kernel's list of descriptors to wait on. Adding and removing are safe while another thread waits: that thread has an `Epoll`
 * of its own over the same descriptor.
 */
export class Epoll {
  readonly descriptor: number;
  readonly #event = Buffer.alloc(EVENT_SIZE);
  #events: Buffer | undefined;

  /** Over a descriptor of {@link createEpoll}, which stays its maker's to close. */
  constructor(descriptor: number) {
    this.descriptor = descriptor;
  }

  /**
   * Reports `token` (a non-negative integer) when `fd` becomes readable: once, or each time somebody waits while it is.
   *
   * @throws Error with `code`: `ENOSPC`, `ENOMEM`, …
   */
  add(fd: number, token: number, how: 'once' | 'always'): void {
    this.#control(CTL_ADD, fd, token, how === 'once' ? EPOLLIN | EPOLLONESHOT : EPOLLIN);
  }

  /** Reports what was added to be reported once, once more: at once when it still is readable. */
  again(fd: number, token: number): void {
    this.#control(CTL_MOD, fd, token, EPOLLIN | EPOLLONESHOT);
  }

  /** Takes `fd` out: to be done before it is closed, or a copy of it in a child that is just being forked keeps it in. */
  remove(fd: number): void {
    checked('epoll_ctl', libc.epollCtl(this.descriptor, CTL_DEL, fd, null));
  }

  /** Blocks this thread for at most `ms`, and says which tokens are ready, at most 1024 of them at a time. */
  wait(ms: number): number[] {
    const events = (this.#events ??= Buffer.alloc(EVENT_SIZE * MAX_EVENTS));
    const count = libc.epollWait(this.descriptor, events, MAX_EVENTS, ms);
    // A signal came to this thread: nothing is lost, the caller waits again.
    if (count < 0 && errorName() === 'EINTR') return [];
    checked('epoll_wait', count);
    return Array.from({ length: count }, (_, index) => events.readDoubleLE(index * EVENT_SIZE + DATA_AT));
  }

  #control(operation: number, fd: number, token: number, events: number): void {
    this.#event.writeUInt32LE(events, 0);
    this.#event.writeDoubleLE(token, DATA_AT);
    checked('epoll_ctl', libc.epollCtl(this.descriptor, operation, fd, this.#event));
  }
}

/** A new epoll descriptor, the caller's to close. */
export function createEpoll(): number {
  return checked('epoll_create1', libc.epollCreate(CLOEXEC));
}

/** A counter that is readable once it was written to: wakes a thread that waits. The caller's to close. */
export function createEventfd(): number {
  return checked('eventfd', libc.eventfd(0, CLOEXEC | NONBLOCK));
}
