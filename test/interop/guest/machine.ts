import { existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { closureOf, dependencyOf, unpackPackages } from '../debian.ts';
import type { Equipment } from '../equipment.ts';
import { built, tool } from '../toolchains.ts';

const OUT = join(import.meta.dirname, '..', 'out', 'guest');
/** The one of Debian 12, which has no `SO_PEERPIDFD`. */
const KERNEL = /^linux-image-6\.1\./;
/** A small Debian; all else comes with the release that is tried. */
const SYSTEM: readonly string[] = [
  'bash',
  'busybox-static',
  'coreutils',
  'dash',
  'dbus',
  'grep',
  'gzip',
  'libpam-systemd',
  'libstdc++6',
  'mount',
  'sed',
  'systemd-sysv',
  'tar',
  'util-linux',
];
/** What users need to run containers of their own. */
const PODMAN: readonly string[] = ['catatonit', 'crun', 'dbus-user-session', 'podman', 'uidmap'];
const NOT_FOR_SYSTEM = 'usr/share/{doc,man,locale,info,zoneinfo,bash-completion,lintian,gcc,bug}';
// Firmware for starting from the network, and the names of all languages for its window.
const NOT_FOR_QEMU = /^(ipxe-qemu|iso-codes)$/;
// Signatures of images, and networks.
const NOT_FOR_PODMAN =
  /^(gnupg.*|gpg.*|dirmngr|pinentry-.*|libldap-.*|libsasl2-.*|iptables|containernetworking-plugins)$/;

/** What a machine is started from: paths. */
export interface MachineParts {
  readonly kernel: string;
  /** An archive of its packages, as the kernel unpacks it. */
  readonly system: string;
  /** Another one, of what podman needs beside them. */
  readonly podman: string;
  /** Where Debian's qemu is unpacked, with the libraries that it is linked to. */
  readonly qemu: string;
  readonly busybox: string;
}

export const MACHINE_PARTS: MachineParts = {
  kernel: join(OUT, 'vmlinuz'),
  system: join(OUT, 'system.cpio'),
  podman: join(OUT, 'podman.cpio'),
  qemu: join(OUT, 'qemu', 'root'),
  busybox: join(OUT, 'system', 'root', 'usr/bin/busybox'),
};

/** Everything of {@link MACHINE_PARTS}, from Debian's packages; it stays, since getting them takes a while. */
export async function machineParts(): Promise<Equipment> {
  if (process.arch !== 'x64') return { kind: 'missing', reason: 'the machine is an x64 one' };
  const kernel = await dependencyOf('linux-image-amd64').catch(() => 'no linux-image-amd64');
  if (!KERNEL.test(kernel)) return { kind: 'missing', reason: `Linux 6.1 is not among the packages: ${kernel}` };
  return built(['apt-get', 'dpkg-deb', 'setpriv', 'tar'], ['true'], async () => {
    const stamp = join(OUT, 'made');
    const wanted = [kernel, ...SYSTEM, ...PODMAN].join(' ');
    if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
    rmSync(OUT, { recursive: true, force: true });
    mkdirSync(OUT, { recursive: true });
    await unpackKernel(kernel);
    const qemu = await closureOf(['qemu-system-x86']);
    await unpackPackages(
      join(OUT, 'qemu'),
      qemu.filter((name) => !NOT_FOR_QEMU.test(name)),
    );
    const system = await closureOf(SYSTEM);
    await pack('system', system, MACHINE_PARTS.system);
    const podman = (await closureOf(PODMAN)).filter((name) => !system.includes(name) && !NOT_FOR_PODMAN.test(name));
    await pack('podman', podman, MACHINE_PARTS.podman);
    writeFileSync(stamp, wanted);
  });
}

async function pack(name: string, packages: readonly string[], to: string): Promise<void> {
  const root = await unpackPackages(join(OUT, name), packages);
  for (const path of globSync(NOT_FOR_SYSTEM, { cwd: root })) rmSync(join(root, path), { recursive: true });
  await archive(root, to);
}

/** Writes an archive of a directory for the kernel to unpack, in which all is root's. */
export async function archive(root: string, to: string): Promise<void> {
  const pack = 'find . | "$1" cpio -o -H newc -R 0:0 > "$2"';
  await tool('bash', ['-euo', 'pipefail', '-c', pack, 'pack', MACHINE_PARTS.busybox, to], root);
}

/** Of its package the image alone: the modules are large, and none is needed. */
async function unpackKernel(name: string): Promise<void> {
  await tool('apt-get', ['download', name], OUT);
  const [packed = ''] = globSync('linux-image-*.deb', { cwd: OUT });
  const unpack = 'dpkg-deb --fsys-tarfile "$1" | tar --extract --to-stdout --wildcards "./boot/vmlinuz-*" > "$2"';
  await tool('bash', ['-euo', 'pipefail', '-c', unpack, 'unpack', packed, MACHINE_PARTS.kernel], OUT);
  rmSync(join(OUT, packed));
}
