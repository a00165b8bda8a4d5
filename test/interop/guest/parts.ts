import { existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../../agent/kernel/errors.ts';
import { closureOf, dependencyOf, download, unpackPackages } from '../debian.ts';
import type { Equipment } from '../equipment.ts';
import { debianSite, foreignSource, KEYRING, OWN_SOURCE, type PackageSource } from '../package-source.ts';
import { built, tool } from '../toolchains.ts';
import type { Machine } from './machine.ts';

const OUT = join(import.meta.dirname, '..', 'out', 'guest');
/** What this machine runs to make others and to start them. */
const PROGRAMS: readonly string[] = ['busybox-static', 'qemu-system-arm', 'qemu-system-x86'];
// Firmware for starting from the network, the names of all languages for qemu's window, signatures of images, and networks.
const NOT_NEEDED =
  /^(ipxe-qemu|iso-codes|gnupg.*|gpg.*|dirmngr|pinentry-.*|libldap-.*|libsasl2-.*|iptables|containernetworking-plugins)$/;
const NOT_FOR_SYSTEM = 'usr/share/{doc,man,locale,info,zoneinfo,bash-completion,lintian,gcc,bug}';

/** Where those programs are unpacked, with the libraries that they are linked to. */
export const PROGRAMS_ROOT: string = join(OUT, 'programs', 'root');

/** The path of a machine's kernel. */
export function kernelOf({ platform }: Machine): string {
  return join(OUT, platform, 'vmlinuz');
}

/** The path of an archive of some of a machine's packages, as the kernel unpacks it. */
export function archiveOf({ platform }: Machine, set: keyof Machine['packages']): string {
  return join(OUT, platform, `${set}.cpio`);
}

/** Makes all that a machine is started from, of Debian's packages; it stays, since getting them takes a while. */
export async function machineParts(machine: Machine): Promise<Equipment> {
  if (process.arch !== 'x64') return { kind: 'missing', reason: 'qemu is the one for an x64 machine' };
  if (machine.debian !== undefined && !existsSync(KEYRING)) {
    return { kind: 'missing', reason: `this machine does not know Debian's keys: there is no ${KEYRING}` };
  }
  const directory = join(OUT, machine.platform);
  const source = await sourceOf(machine, directory).catch(messageOf);
  if (typeof source === 'string') return { kind: 'missing', reason: source };
  const kernel = await dependencyOf(machine.kernel.package, source).catch(() => `no ${machine.kernel.package}`);
  if (!machine.kernel.name.test(kernel)) {
    return { kind: 'missing', reason: `the packages have not the kernel that is tried: ${kernel}` };
  }
  return built(['apt-get', 'dpkg-deb', 'setpriv', 'tar'], ['true'], async () => {
    const stamp = join(directory, 'made');
    const wanted = [kernel, ...PROGRAMS, ...Object.values(machine.packages).flat()].join(' ');
    if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
    mkdirSync(directory, { recursive: true });
    rmSync(stamp, { force: true });
    await unpackPackages(join(OUT, 'programs'), await neededFor(PROGRAMS, OWN_SOURCE));
    await unpackKernel(kernel, kernelOf(machine), source);
    const system = await neededFor(machine.packages.system, source);
    await pack(system, source, archiveOf(machine, 'system'));
    if (machine.packages.podman !== undefined) {
      const podman = await neededFor(machine.packages.podman, source);
      await pack(
        podman.filter((name) => !system.includes(name)),
        source,
        archiveOf(machine, 'podman'),
      );
    }
    writeFileSync(stamp, wanted);
  });
}

async function sourceOf({ debian, platform }: Machine, directory: string): Promise<PackageSource> {
  if (debian === undefined) return OWN_SOURCE;
  const of = { site: await debianSite(), version: debian, processor: platform };
  return foreignSource(join(directory, 'apt'), of);
}

async function neededFor(packages: readonly string[], source: PackageSource): Promise<readonly string[]> {
  return (await closureOf(packages, source)).filter((name) => !NOT_NEEDED.test(name));
}

async function pack(packages: readonly string[], source: PackageSource, to: string): Promise<void> {
  const root = await unpackPackages(to.replace(/\.cpio$/, ''), packages, source);
  for (const path of globSync(NOT_FOR_SYSTEM, { cwd: root })) rmSync(join(root, path), { recursive: true });
  await archive(root, to);
}

/** Writes an archive of a directory for the kernel to unpack, in which all is root's. */
export async function archive(root: string, to: string): Promise<void> {
  const pack = 'find . | "$1" cpio -o -H newc -R 0:0 > "$2"';
  await tool('bash', ['-euo', 'pipefail', '-c', pack, 'pack', join(PROGRAMS_ROOT, 'usr/bin/busybox'), to], root);
}

/** Of its package the image alone: the modules are large, and none is needed. */
async function unpackKernel(name: string, to: string, source: PackageSource): Promise<void> {
  const directory = `${to}.packed`;
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory);
  await download([name], directory, source);
  const [packed = ''] = globSync('linux-image-*.deb', { cwd: directory });
  const unpack = 'dpkg-deb --fsys-tarfile "$1" | tar --extract --to-stdout --wildcards "./boot/vmlinuz-*" > "$2"';
  await tool('bash', ['-euo', 'pipefail', '-c', unpack, 'unpack', packed, to], directory);
  rmSync(directory, { recursive: true });
}
