import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { tool } from './toolchains.ts';

/** Busybox, linked statically: all that there is in the containers of the tests, beside a client. */
const BUSYBOX = '/bin/busybox';

/**
 * Writes an archive of a root directory that an engine makes an image of: a shell, and some programs that need no library.
 *
 * @param programs by the name that each has in `/bin`
 * @returns the archive
 */
export async function containerRootfs(
  directory: string,
  programs: Readonly<Record<string, string>> = {},
): Promise<string> {
  const root = join(directory, 'rootfs');
  const archive = join(directory, 'rootfs.tar');
  mkdirSync(join(root, 'bin'), { recursive: true });
  mkdirSync(join(root, 'run'));
  for (const [name, path] of Object.entries({ busybox: BUSYBOX, ...programs })) cpSync(path, join(root, 'bin', name));
  for (const applet of ['sh', 'sleep']) symlinkSync('busybox', join(root, 'bin', applet));
  await tool('tar', ['-C', root, '-cf', archive, '.'], '/');
  return archive;
}
