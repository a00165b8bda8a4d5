import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tool } from '../toolchains.ts';

/** What a node runs that is not Go source of the module proxy. */
const PACKAGES: readonly string[] = ['containerd', 'runc', 'containernetworking-plugins', 'busybox-static'];

/**
 * Unpacks Debian's packages below a directory, once, without installing them: a machine that runs tests should not get a container
 * runtime for it.
 *
 * @returns the directory, laid out like the root of a file system
 */
export async function unpackPackages(directory: string): Promise<string> {
  const root = join(directory, 'root');
  const stamp = join(directory, 'unpacked');
  const wanted = PACKAGES.join(' ');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return root;
  rmSync(directory, { recursive: true, force: true });
  const archives = join(directory, 'archives');
  mkdirSync(archives, { recursive: true });
  const download = () => tool('apt-get', ['download', ...PACKAGES], archives);
  // A machine on which nothing was ever installed has no lists, or old ones.
  await download().catch(() => tool('apt-get', ['update', '--quiet'], archives).then(download));
  for (const name of readdirSync(archives)) await tool('dpkg-deb', ['--extract', join(archives, name), root], archives);
  rmSync(archives, { recursive: true });
  writeFileSync(stamp, wanted);
  return root;
}
