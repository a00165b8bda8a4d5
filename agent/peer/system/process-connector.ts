import { closeSync, readFileSync, writeFileSync } from 'node:fs';
import { messageOf, systemCodeOf } from '../../kernel/errors.ts';
import { checked, errorName, libc, systemError, uninterrupted } from './native.ts';

const AF_NETLINK = 16;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const NETLINK_CONNECTOR = 11;
const CN_IDX_PROC = 1;
const CN_VAL_PROC = 1;
const PROC_CN_MCAST_LISTEN = 1;
const NLMSG_DONE = 3;
const NETLINK_HEADER = 16;
const CONNECTOR_HEADER = 20;

const EXEC = 0x2;
const UID = 0x4;
const GID = 0x40;
const COMM = 0x200;
// Of an event, behind the two headers.
const WHAT_AT = 36;
const TGID_AT = 56;
const EVENT_SIZE = 60;

const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
// Some ten thousand events: a storm of them comes faster than a busy machine gives the reader its turn.
const RECEIVE_BUFFER = 8 * 1024 * 1024;

/** What has come since the last time. */
export interface Received {
  /** Processes that have called `execve` or changed an id, each once. */
  readonly pids: readonly number[];
  /** True when there were more than the kernel could keep: any process may have. */
  readonly lost: boolean;
}

/**
 * The kernel's process connector: a socket on which it tells of every `execve` and every change of ids on this machine.
 * What is told is only a reason to look: a message that somebody else has sent costs a look and does no harm.
 */
export class ProcessConnector {
  readonly descriptor: number;
  readonly #message = Buffer.alloc(256);

  private constructor(descriptor: number) {
    this.descriptor = descriptor;
  }

  /**
   * Subscribes, and makes sure that events come. The kernel tells nobody in another network, user or pid namespace, which a
   * subscription does not show, and before Linux 6.6 it cannot leave out the forks and exits of the whole machine.
   *
   * @returns why not, as a clause, when it does not answer here
   * @throws Error with `code` when the agent is out of descriptors or memory
   */
  static open(): ProcessConnector | string {
    let connector: ProcessConnector;
    try {
      connector = new ProcessConnector(
        checked('socket', libc.socket(AF_NETLINK, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_CONNECTOR)),
      );
    } catch (error) {
      const code = systemCodeOf(error) ?? '';
      if (['EMFILE', 'ENFILE', 'ENOMEM'].includes(code)) throw error;
      return `this kernel has no process connector (${code})`;
    }
    try {
      connector.#join();
      connector.#subscribe(EXEC | UID | GID | COMM);
      if (!connector.#hearsItself()) {
        connector.close();
        return 'the kernel tells no process events here: it takes Linux 6.6 and the network and pid namespaces of the host';
      }
      connector.#subscribe(EXEC | UID | GID);
      return connector;
    } catch (error) {
      connector.close();
      return `the process connector refuses the agent (${messageOf(error)}): it takes the network namespace of the host, and CAP_NET_ADMIN on some kernels`;
    }
  }

  /**
   * Takes all that has come. Never waits.
   *
   * @throws Error with `code` when nothing will come any more
   */
  receive(): Received {
    const pids = new Set<number>();
    let lost = false;
    for (;;) {
      const size = this.#read();
      if (size === 'none') return { pids: [...pids], lost };
      if (size === 'lost') lost = true;
      else if (size >= EVENT_SIZE) pids.add(this.#message.readInt32LE(TGID_AT));
    }
  }

  close(): void {
    closeSync(this.descriptor);
  }

  /** Binds to the group of the events, with all the room that the kernel gives. */
  #join(): void {
    const address = Buffer.alloc(12);
    address.writeUInt16LE(AF_NETLINK, 0);
    address.writeUInt32LE(CN_IDX_PROC, 8);
    checked('bind', libc.bind(this.descriptor, address, address.length));
    const room = Buffer.alloc(4);
    room.writeInt32LE(RECEIVE_BUFFER);
    // Above net.core.rmem_max only with CAP_NET_ADMIN; what does not fit into less is made good by a look at all processes.
    if (libc.setsockopt(this.descriptor, SOL_SOCKET, SO_RCVBUFFORCE, room, 4) < 0)
      libc.setsockopt(this.descriptor, SOL_SOCKET, SO_RCVBUF, room, 4);
  }

  /** Asks for `events` and no others, in the place of what was asked for before (Linux 6.6; an older kernel ignores it). */
  #subscribe(events: number): void {
    const message = Buffer.alloc(NETLINK_HEADER + CONNECTOR_HEADER + 8);
    message.writeUInt32LE(message.length, 0);
    message.writeUInt16LE(NLMSG_DONE, 4);
    message.writeUInt32LE(CN_IDX_PROC, NETLINK_HEADER);
    message.writeUInt32LE(CN_VAL_PROC, NETLINK_HEADER + 4);
    message.writeUInt16LE(8, NETLINK_HEADER + 16);
    message.writeUInt32LE(PROC_CN_MCAST_LISTEN, NETLINK_HEADER + CONNECTOR_HEADER);
    message.writeUInt32LE(events, NETLINK_HEADER + CONNECTOR_HEADER + 4);
    checked('send', libc.send(this.descriptor, message, message.length, 0));
  }

  /** Gives this thread the name that it has, which is an event, and is told before the write returns. */
  #hearsItself(): boolean {
    const name = '/proc/thread-self/comm';
    writeFileSync(name, readFileSync(name));
    for (;;) {
      const size = this.#read();
      if (size === 'none') return false;
      if (size === 'lost' || size < EVENT_SIZE) continue;
      const { pid } = process;
      if (this.#message.readUInt32LE(WHAT_AT) === COMM && this.#message.readInt32LE(TGID_AT) === pid) return true;
    }
  }

  #read(): number | 'none' | 'lost' {
    const size = uninterrupted(() => libc.recv(this.descriptor, this.#message, this.#message.length, 0));
    if (size >= 0) return size;
    const code = errorName();
    if (code === 'EAGAIN') return 'none';
    if (code === 'ENOBUFS') return 'lost';
    throw systemError('recv');
  }
}
