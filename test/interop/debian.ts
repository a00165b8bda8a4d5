import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OWN_SOURCE, type PackageSource } from './package-source.ts';
import { tool } from './toolchains.ts';

/** What the maintainers of packages run when one is installed, which is done with none here. */
const OF_INSTALLATION =
  /^(perl|libperl|lib.*-perl$|perl-|usrmerge|dpkg|debconf|adduser|passwd|init-system-helpers|libgdbm|libdb5)/;

/**
 * Unpacks Debian's packages below a directory, once, without installing them: a machine that runs tests should not get a container
 * runtime for it.
 *
 * @returns the directory, laid out like the root of a file system
 */
export async function unpackPackages(
  directory: string,
  packages: readonly string[],
  source: PackageSource = OWN_SOURCE,
): Promise<string> {
  const root = join(directory, 'root');
  const stamp = join(directory, 'unpacked');
  const wanted = packages.join(' ');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return root;
  rmSync(directory, { recursive: true, force: true });
  const archives = join(directory, 'archives');
  mkdirSync(archives, { recursive: true });
  await download(packages, archives, source);
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    mkdirSync(join(root, 'usr', name), { recursive: true });
    symlinkSync(`usr/${name}`, join(root, name));
  }
  // What packages have in /bin and its like belongs behind those links.
  const unpack = 'dpkg-deb --fsys-tarfile "$1" | tar --extract --keep-directory-symlink --directory "$2"';
  for (const name of readdirSync(archives)) {
    await tool('bash', ['-euo', 'pipefail', '-c', unpack, 'unpack', join(archives, name), root], archives);
  }
  rmSync(archives, { recursive: true });
  writeFileSync(stamp, wanted);
  return root;
}

/** Packages as they are, into a directory. */
export async function download(
  packages: readonly string[],
  directory: string,
  source: PackageSource = OWN_SOURCE,
): Promise<void> {
  await withLists(source, () => tool('apt-get', [...source, 'download', ...packages], directory));
}

/** Packages with all that they need to run, whatever this machine has already. */
export async function closureOf(
  packages: readonly string[],
  source: PackageSource = OWN_SOURCE,
): Promise<readonly string[]> {
  const nothingInstalled = ['-o', 'Dir::State::status=/dev/null', '--no-install-recommends', '--simulate'];
  const plan = await withLists(source, () =>
    tool('apt-get', [...source, ...nothingInstalled, 'install', ...packages], '/'),
  );
  return [...plan.matchAll(/^Inst (\S+)/gm)]
    .map(([, name]) => name ?? '')
    .filter((name) => !OF_INSTALLATION.test(name));
}

/** What a package that only names another stands for. */
export async function dependencyOf(name: string, source: PackageSource = OWN_SOURCE): Promise<string> {
  const told = await withLists(source, () => tool('apt-cache', [...source, 'depends', name], '/'));
  const found = /^\s*Depends: (\S+)$/m.exec(told)?.[1];
  if (found === undefined) throw new Error(`${name} depends on nothing`);
  return found;
}

/** A machine on which nothing was ever installed has no lists of packages, or old ones. */
function withLists<T>(source: PackageSource, run: () => Promise<T>): Promise<T> {
  return run().catch(() => tool('apt-get', [...source, 'update', '--quiet'], '/').then(run));
}
