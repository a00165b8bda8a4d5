import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { MayflyError, messageOf, systemCodeOf } from '../kernel/errors.ts';
import { isAnybodys } from './system/mapped-ids.ts';
import { hasExited, openPidfd, peerCredentials, peerPidfd } from './system/pidfd.ts';
import { readStartTime } from './system/proc.ts';
import { descriptorPair } from './system/unix-socket.ts';

/** How strongly the kernel vouches for a caller; the meaning is that of `ProcessInstance.proof`. */
export type Proof = 'pidfd' | 'start-time';

/** Who opened a connection, with a pidfd that holds the process; the pidfd is the receiver's to close. */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  readonly pidfd: number;
  readonly proof: Proof;
}

/** Why a connection's opener is not known: a word to count by and a clause for the log. */
export interface Unidentified {
  readonly kind: 'unidentified';
  readonly reason:
    | 'no-descriptor'
    | 'other-pid-namespace'
    | 'other-user-namespace'
    | 'exited'
    | 'changed'
    | 'unverifiable';
  readonly detail: string;
}

/** The descriptor of a socket that Node made, or `undefined` when it is closed. Node has no public way to it. */
function descriptorOf(socket: Socket): number | undefined {
  const { _handle: handle } = socket as Socket & { _handle?: { fd?: number } | null };
  return handle?.fd !== undefined && handle.fd >= 0 ? handle.fd : undefined;
}

/**
 * Finds out whether the kernel vouches for peers itself.
 *
 * @param requirePidfd whether nothing weaker will do
 * @throws MayflyError `KERNEL_UNSUPPORTED` when the kernel has no pidfds at all, or none on sockets while `requirePidfd`
 */
export function strongestProof(requirePidfd: boolean): Proof {
  const pair = descriptorPair();
  try {
    closeSync(peerPidfd(pair[0]));
    return 'pidfd';
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOPROTOOPT') throw error;
    if (requirePidfd) {
      throw new MayflyError(
        'KERNEL_UNSUPPORTED',
        'this kernel has no SO_PEERPIDFD (Linux 6.5), and peer.require_pidfd is set; use a newer kernel or take the setting back',
        { cause: error },
      );
    }
  } finally {
    for (const fd of pair) closeSync(fd);
  }
  try {
    closeSync(openPidfd(process.pid));
    return 'start-time';
  } catch (error) {
    throw new MayflyError('KERNEL_UNSUPPORTED', 'this kernel has no pidfd_open; Linux 5.3 is the oldest that will do', {
      cause: error,
    });
  }
}

/**
 * Reads who opened an accepted connection, before a byte of it is read. It fails closed: whoever cannot be told for certain, or was
 * dead already, is unidentified, even while another process holds the connection.
 *
 * With `start-time` the pid is turned into a pidfd after the fact: a process that got the number of one that died between `connect`
 * and now is taken for it, when it runs under the same user.
 */
export function readCredentials(socket: Socket, proof: Proof): PeerCredentials | Unidentified {
  const fd = descriptorOf(socket);
  if (fd === undefined) return unidentified('no-descriptor', 'the connection was closed before it was looked at');
  try {
    const { pid, uid, gid } = peerCredentials(fd);
    if (pid <= 0) {
      return unidentified(
        'other-pid-namespace',
        'the caller has no pid here: run the agent in the pid namespace of the host',
      );
    }
    if (isAnybodys('uid', uid) || isAnybodys('gid', gid)) {
      return unidentified(
        'other-user-namespace',
        'the caller has no user or no group here: run the agent in the user namespace of the host',
      );
    }
    const pidfd = proof === 'pidfd' ? peerPidfd(fd) : pidfdByNumber(pid);
    // SO_PEERPIDFD succeeds for an opener that is dead and reaped.
    if (pidfd === undefined || exited(pidfd)) {
      return unidentified('exited', `process ${pid}, which opened the connection, has exited`);
    }
    return { pid, uid, gid, pidfd, proof };
  } catch (error) {
    if (systemCodeOf(error) === 'ESRCH')
      return unidentified('exited', 'the process that opened the connection has exited');
    return unidentified('unverifiable', `who opened the connection cannot be told: ${messageOf(error)}`);
  }
}

/** A pidfd for `pid`; `undefined` when the number changed hands while it was opened. Throws when that cannot be told. */
function pidfdByNumber(pid: number): number | undefined {
  const before = readStartTime(pid);
  const pidfd = openPidfd(pid);
  if (before !== undefined && readStartTime(pid) === before) return pidfd;
  closeSync(pidfd);
  if (before === undefined) throw new Error(`/proc hides process ${pid} and its start time (hidepid)`);
  return undefined;
}

/** Asks, and closes the pidfd where the answer is yes or none. */
function exited(pidfd: number): boolean {
  let over = true;
  try {
    over = hasExited(pidfd);
    return over;
  } finally {
    if (over) closeSync(pidfd);
  }
}

/** Makes an {@link Unidentified}. */
export function unidentified(reason: Unidentified['reason'], detail: string): Unidentified {
  return { kind: 'unidentified', reason, detail };
}
