import { chmodSync, closeSync, lstatSync, unlinkSync } from 'node:fs';
import { dirname, isAbsolute } from 'node:path';
import { MayflyError } from '../kernel/errors.ts';
import { prepareDirectory } from './socket-directory.ts';
import { takeLock } from './socket-lock.ts';
import { withPermission } from './system/permission.ts';
import { bindUnixSocket, listenerAt, MAX_PATH_BYTES } from './system/unix-socket.ts';

/** A socket file that is ours, and the bound descriptor, on which nobody listens yet. */
export interface BoundSocket {
  /** To be handed to `net.Server.listen({ fd })`, whose it is from then on. */
  readonly descriptor: number;
  /** Removes the file if it is still ours, and lets others bind. May be called again; before the descriptor is closed. */
  remove(): void;
}

/**
 * Binds a socket at `path`: in a directory that only the agent's user and root can write to, which is made (0755) when it is not
 * there; in the place of a file that an agent left behind, never of one where somebody listens; with `mode` and never more. Of two
 * that try at once one wins: `<path>.lock` is locked as long as the socket is bound.
 *
 * @throws MayflyError `INVALID_CONFIG` for an impossible path, `SOCKET_UNSAFE`, `SOCKET_IN_USE` with the pid of who listens,
 *   `PERMISSION_MISSING`
 */
export function bindSocketPath(path: string, mode: number): BoundSocket {
  checkPath(path);
  prepareDirectory(dirname(path));
  const lock = takeLock(`${path}.lock`);
  if (lock === undefined) throw inUse(path, listenerOrUnknown(path));
  try {
    removeStale(path);
    const descriptor = withPermission(`bind ${path}`, () => bindUnixSocket(path, mode));
    try {
      // The umask has taken away what others need to connect.
      withPermission(`change the mode of ${path}`, () => chmodSync(path, mode));
      const { dev, ino } = lstatSync(path);
      let bound = true;
      const remove = () => {
        if (!bound) return;
        bound = false;
        removeOurs(path, dev, ino);
        lock.release();
      };
      return { descriptor, remove };
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
  } catch (error) {
    lock.release();
    throw error;
  }
}

function checkPath(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (!isAbsolute(path) || path.includes('\0') || path.endsWith('/')) {
    throw new MayflyError('INVALID_CONFIG', `socket path ${JSON.stringify(path)} is no absolute path of a file`);
  }
  if (bytes > MAX_PATH_BYTES) {
    throw new MayflyError(
      'INVALID_CONFIG',
      `socket path ${path} has ${bytes} bytes, and the kernel takes at most ${MAX_PATH_BYTES}; choose a shorter one`,
    );
  }
}

/** Removes what a crashed agent left at `path`. Under the lock, so that what is removed cannot be a socket that was just bound. */
function removeStale(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) {
    throw new MayflyError('SOCKET_UNSAFE', `${path} is there and is no socket; remove it or choose another path`);
  }
  const listener = withPermission(`connect to ${path}`, () => listenerAt(path));
  if (typeof listener === 'object') throw inUse(path, listener.pid);
  if (listener === 'nobody') withPermission(`remove ${path}`, () => unlinkSync(path));
}

function removeOurs(path: string, dev: number, ino: number): void {
  try {
    const now = lstatSync(path, { throwIfNoEntry: false });
    if (now?.dev === dev && now.ino === ino) unlinkSync(path);
  } catch {
    // The directory is gone or closed to us: what is left, if anything, the next start finds stale.
  }
}

function listenerOrUnknown(path: string): number {
  try {
    const listener = listenerAt(path);
    return typeof listener === 'object' ? listener.pid : 0;
  } catch {
    return 0;
  }
}

function inUse(path: string, pid: number): MayflyError {
  const holder = pid > 0 ? `process ${pid}` : 'another process';
  return new MayflyError('SOCKET_IN_USE', `${holder} holds the socket ${path}; stop it, or choose another path`);
}
