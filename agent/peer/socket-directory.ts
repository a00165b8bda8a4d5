import { chmodSync, lstatSync, realpathSync, type Stats } from 'node:fs';
import { dirname } from 'node:path';
import { MayflyError, systemCodeOf } from '../kernel/errors.ts';
import { makeDirectory } from '../kernel/made-directory.ts';
import { withPermission } from './system/permission.ts';

const STICKY = 0o1000;
const GROUP_WRITES = 0o020;
const OTHERS_WRITE = 0o002;

/**
 * Makes the directory if it is missing (0755, with those above it) and checks that nobody but root and the agent's user can put
 * another socket in the place of ours: whoever can hands out identities and trust of his own to everybody on the machine. Every
 * directory from the root on counts, and every symbolic link on the way. Protected by the sticky bit, as `/tmp` is, will do; so will a
 * directory that the agent's own group may write to, which many systems give each user alone.
 *
 * @throws MayflyError `SOCKET_UNSAFE`, `PERMISSION_MISSING`
 */
export function prepareDirectory(directory: string): void {
  makeMissing(directory);
  const links = above(directory).filter((path) => lstatSync(path).isSymbolicLink());
  for (const link of links) {
    if (!isTrusted(lstatSync(link).uid)) {
      throw unsafe(link, `is a symbolic link of uid ${lstatSync(link).uid}, who can point it elsewhere`);
    }
  }
  // A link may lead through directories that the path does not name.
  const directories = new Set([directory, ...links].flatMap((path) => above(realpathSync(path))));
  for (const path of directories) checkDirectory(path, lstatSync(path));
}

function checkDirectory(path: string, stat: Stats): void {
  if (!stat.isDirectory()) throw unsafe(path, 'is no directory');
  if (!isTrusted(stat.uid)) throw unsafe(path, `belongs to uid ${stat.uid}, who can put another socket there`);
  if ((stat.mode & STICKY) !== 0) return;
  const mode = (stat.mode & 0o7777).toString(8).padStart(4, '0');
  if ((stat.mode & OTHERS_WRITE) !== 0) throw unsafe(path, `can be written to by everybody (mode ${mode})`);
  if ((stat.mode & GROUP_WRITES) !== 0 && stat.gid !== 0 && stat.gid !== process.getegid?.()) {
    throw unsafe(path, `can be written to by group ${stat.gid} (mode ${mode})`);
  }
}

function makeMissing(directory: string): void {
  let first: string | undefined;
  try {
    first = withPermission(`make the directory ${directory}`, () => makeDirectory(directory, 0o755));
  } catch (error) {
    const code = systemCodeOf(error) ?? '';
    if (code === 'ENOENT') throw unsafe(directory, 'cannot be made');
    if (!['ENOTDIR', 'EEXIST'].includes(code)) throw error;
    throw unsafe(directory, 'is no directory, or has a file above it');
  }
  if (first === undefined) return;
  // The umask may have taken away what callers of other users need to get to the socket.
  for (const path of above(directory)) if (path.length >= first.length) chmodSync(path, 0o755);
}

/** The path and every one above it, from the root on. */
function above(path: string): string[] {
  const parent = dirname(path);
  return parent === path ? [path] : [...above(parent), path];
}

function isTrusted(uid: number): boolean {
  return uid === 0 || uid === process.geteuid?.();
}

function unsafe(path: string, what: string): MayflyError {
  return new MayflyError(
    'SOCKET_UNSAFE',
    `${path} ${what}; the socket needs a directory that only root and the agent's user control`,
  );
}
