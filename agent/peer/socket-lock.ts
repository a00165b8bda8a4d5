import { closeSync, constants, fstatSync, lstatSync, openSync, unlinkSync } from 'node:fs';
import { MayflyError, systemCodeOf } from '../kernel/errors.ts';
import { lockFile } from './system/hardening.ts';
import { withPermission } from './system/permission.ts';

/** A lock that is held. */
export interface Lock {
  /** Removes the lock's file and gives the lock back. May be called again. */
  release(): void;
}

/**
 * Takes the lock of the file at `path`, which is made (0600: who may not open it cannot take it) and removed again. A crash gives it
 * back and leaves the file, which then is locked anew.
 *
 * @returns `undefined` when somebody else has the lock
 * @throws MayflyError `SOCKET_UNSAFE` when the file is of another's making, `PERMISSION_MISSING`
 */
export function takeLock(path: string): Lock | undefined {
  for (;;) {
    const fd = withPermission(`open ${path}`, () => openOwn(path));
    try {
      if (fstatSync(fd).uid !== process.geteuid?.()) throw foreign(path);
      if (!lockFile(fd)) {
        closeSync(fd);
        return undefined;
      }
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    if (isAt(path, fd)) return held(path, fd);
    // Between open and lock its holder removed it: there may be another by now.
    closeSync(fd);
  }
}

function held(path: string, fd: number): Lock {
  let locked = true;
  return {
    release: () => {
      if (!locked) return;
      locked = false;
      // In this order: a file that is no longer locked may be somebody else's already.
      if (isAt(path, fd)) removeQuietly(path);
      closeSync(fd);
    },
  };
}

function openOwn(path: string): number {
  try {
    return openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    if (['ELOOP', 'EISDIR', 'ENXIO'].includes(systemCodeOf(error) ?? '')) throw foreign(path);
    throw error;
  }
}

function isAt(path: string, fd: number): boolean {
  const [there, ours] = [lstatSync(path, { throwIfNoEntry: false }), fstatSync(fd)];
  return there?.dev === ours.dev && there.ino === ours.ino;
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // The directory is gone or closed to us; a file that stays does no harm.
  }
}

function foreign(path: string): MayflyError {
  return new MayflyError('SOCKET_UNSAFE', `${path} was not made by the agent; remove it`);
}
