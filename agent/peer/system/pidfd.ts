import { fstatSync, statfsSync } from 'node:fs';
import { checked, libc, systemError, uninterrupted } from './native.ts';

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_PEERPIDFD = 77;
const SYS_PIDFD_OPEN = 434;
const POLLIN = 1;
const POLLNVAL = 0x20;
// _IOWR(0xFF, 11, struct pidfd_info) at the 64 bytes of its first version; later kernels take the short one too.
const PIDFD_GET_INFO = 0xc040ff0b;
const PIDFD_INFO_CREDS = 2;
const PIDFD_INFO_CGROUPID = 4;
const CGROUP_ID_AT = 8;
// The file system that pidfds are in from Linux 6.9 on.
const PID_FS_MAGIC = 0x50494446;
const EFFECTIVE_UID_AT = 36;
const EFFECTIVE_GID_AT = 40;

/** A user and a group, as the agent's own user namespace numbers them. */
export interface Ids {
  readonly uid: number;
  readonly gid: number;
}

// Written and read within one synchronous call each: a call costs 0.3 µs, a fresh buffer would double that.
const option = Buffer.alloc(12);
const optionSize = Buffer.alloc(4);
const polled = Buffer.alloc(8);
const info = Buffer.alloc(64);

/**
 * Who opened a Unix socket, as `unix(7)` fixes it at `connect`: pid (0 when it has none in the agent's pid namespace), effective
 * uid and gid.
 *
 * @throws Error with `code`
 */
export function peerCredentials(socket: number): Ids & { readonly pid: number } {
  getOption(socket, SO_PEERCRED, 12);
  return { pid: option.readInt32LE(0), uid: option.readUInt32LE(4), gid: option.readUInt32LE(8) };
}

/**
 * A pidfd for the process that opened a Unix socket (Linux 6.5). It is handed out for a process that is dead and reaped too.
 *
 * @throws Error with `code`: `ENOPROTOOPT` on an older kernel
 */
export function peerPidfd(socket: number): number {
  getOption(socket, SO_PEERPIDFD, 4);
  return option.readInt32LE(0);
}

/**
 * A pidfd for whoever has this number now (Linux 5.3).
 *
 * @throws Error with `code`: `ESRCH` when nobody has it, `ENOSYS` on an older kernel
 */
export function openPidfd(pid: number): number {
  return checked('pidfd_open', libc.syscall(SYS_PIDFD_OPEN, pid, 0));
}

/**
 * True when the process, with all its threads, is over; whether it was reaped makes no difference.
 *
 * @throws Error with `code`
 */
export function hasExited(pidfd: number): boolean {
  polled.writeInt32LE(pidfd, 0);
  polled.writeInt16LE(POLLIN, 4);
  checked('poll', uninterrupted(pollOnce));
  const events = polled.readInt16LE(6);
  if ((events & POLLNVAL) !== 0) throw systemError('poll', 9);
  return events !== 0;
}

function pollOnce(): number {
  return libc.poll(polled, 1, 0);
}

/** What {@link describe} says of a process. */
export interface Description extends Ids {
  /** The kernel's number of its cgroup in the unified hierarchy; `undefined` where it does not tell. */
  readonly cgroup: number | undefined;
}

/** The effective ids and the cgroup of a process now (Linux 6.13), or `undefined` where the kernel does not tell. */
export function describe(pidfd: number): Description | undefined {
  info.writeUInt32LE(PIDFD_INFO_CREDS | PIDFD_INFO_CGROUPID, 0);
  info.writeUInt32LE(0, 4);
  // ENOTTY, EINVAL: the kernel has no such request; ESRCH, EREMOTE: it tells nothing of this one.
  if (libc.ioctl(pidfd, PIDFD_GET_INFO, info) < 0) return undefined;
  const told = info.readUInt32LE(0);
  if ((told & PIDFD_INFO_CREDS) === 0) return undefined;
  return {
    uid: info.readUInt32LE(EFFECTIVE_UID_AT),
    gid: info.readUInt32LE(EFFECTIVE_GID_AT),
    cgroup: (told & PIDFD_INFO_CGROUPID) === 0 ? undefined : idAt(CGROUP_ID_AT),
  };
}

/** A number of the kernel's that counts up from zero: it will not have outgrown 53 bits. */
function idAt(offset: number): number {
  return info.readUInt32LE(offset) + info.readUInt32LE(offset + 4) * 2 ** 32;
}

/**
 * The inode of a pidfd, which no other process of this boot has (Linux 6.9); `undefined` on an older kernel, where all share one.
 *
 * @throws Error with `code`
 */
export function pidfdInode(pidfd: number): string | undefined {
  ofOwnFileSystem ??= statfsSync(`/proc/self/fd/${pidfd}`).type === PID_FS_MAGIC;
  return ofOwnFileSystem ? String(fstatSync(pidfd, { bigint: true }).ino) : undefined;
}

let ofOwnFileSystem: boolean | undefined;

function getOption(socket: number, name: number, size: number): void {
  optionSize.writeUInt32LE(size, 0);
  checked(
    name === SO_PEERPIDFD ? 'SO_PEERPIDFD' : 'SO_PEERCRED',
    libc.getsockopt(socket, SOL_SOCKET, name, option, optionSize),
  );
  if (optionSize.readUInt32LE(0) !== size) throw systemError('getsockopt', 22);
}
