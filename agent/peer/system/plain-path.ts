import { constants, open } from 'node:fs';
import { lstat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { systemCodeOf } from '../../kernel/errors.ts';
import { errorName, libc, uninterrupted } from './native.ts';

/**
 * Names a file without opening it, which needs no permission to read it and asks nothing of its file system. Node has no constant for it;
 * the value is the same on x64 and arm64.
 */
export const O_PATH = 0o10000000;

const SYS_OPENAT2 = 437;
const AT_FDCWD = -100;
const O_CLOEXEC = 0o2000000;
const RESOLVE_NO_MAGICLINKS = 0x02;
const RESOLVE_NO_SYMLINKS = 0x04;
const RESOLVE_CACHED = 0x20;

const WALKED = openHow(RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS);
// Only where the kernel remembers every step from the last time: it asks no file system then, and never waits.
const REMEMBERED = openHow(RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_CACHED);

// There is nothing for the agent at this path.
const NOTHING: ReadonlySet<string | undefined> = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP', 'ENAMETOOLONG']);
// The kernel is older than 5.12, or whoever has started the agent does not let it ask like this.
const NOT_OFFERED: ReadonlySet<string> = new Set(['ENOSYS', 'EPERM', 'EINVAL']);

const openFile = promisify(open);

/**
 * Opens what is at an absolute path that leads over no link, as the kernel spells the path of a file itself. A link could lead into a
 * stranger's namespaces (`/proc/<pid>/root`), to a file system that lets the agent wait for ever.
 *
 * @returns an `O_PATH` descriptor, the caller's to close; `undefined` where there is nothing, or a link on the way
 * @throws Error with `code` when it cannot be told: `EMFILE`, `ENOMEM`, `EIO`
 */
export async function openPlainPath(path: string): Promise<number | undefined> {
  const known = openRemembered(path);
  if (known !== 'EAGAIN') return await outcome(path, known);
  const descriptor = await walk(path);
  if (descriptor >= 0) return descriptor;
  // Why not was told on another thread. By now it is remembered, unless it was forgotten right away.
  const why = openRemembered(path);
  return why === 'EAGAIN' ? undefined : await outcome(path, why);
}

/** A descriptor, or why there is none. */
function openRemembered(path: string): number | string {
  const descriptor = uninterrupted(() => libc.openat2(SYS_OPENAT2, AT_FDCWD, path, REMEMBERED, REMEMBERED.length));
  return descriptor >= 0 ? descriptor : errorName();
}

async function outcome(path: string, opened: number | string): Promise<number | undefined> {
  if (typeof opened === 'number') return opened;
  if (NOTHING.has(opened)) return undefined;
  if (NOT_OFFERED.has(opened)) return await openStepByStep(path);
  throw Object.assign(new Error(`${opened}: openat2 failed`), { code: opened });
}

/** Off the main thread, since a file system may have to be asked. */
function walk(path: string): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  libc.openat2.async(SYS_OPENAT2, AT_FDCWD, path, WALKED, WALKED.length, (error, descriptor) => {
    if (error !== null && error !== undefined) reject(error);
    else resolve(descriptor);
  });
  return promise;
}

async function openStepByStep(path: string): Promise<number | undefined> {
  try {
    const steps = path.split('/').slice(1);
    for (const step of steps.keys()) {
      const stats = await lstat(`/${steps.slice(0, step + 1).join('/')}`);
      if (stats.isSymbolicLink()) return undefined;
    }
    return await openFile(path, constants.O_RDONLY | constants.O_NOFOLLOW | O_PATH);
  } catch (error) {
    if (NOTHING.has(systemCodeOf(error))) return undefined;
    throw error;
  }
}

/** `struct open_how`: flags, mode, resolve. */
function openHow(resolve: number): Buffer {
  const how = Buffer.alloc(24);
  how.writeBigUInt64LE(BigInt(O_PATH | O_CLOEXEC), 0);
  how.writeBigUInt64LE(BigInt(resolve), 16);
  return how;
}
