import type { Platform } from '../../../deploy/release/platform.ts';

/** A machine that qemu emulates, and the Debian on it. */
export interface Machine {
  /** What its releases and packages are for. */
  readonly platform: Platform['name'];
  /** The version of Debian; without one it is that of the machine that the tests run on. */
  readonly debian: string | undefined;
  /** The package that names its kernel, and what that is called. */
  readonly kernel: { readonly package: string; readonly name: RegExp };
  /** Packages, by what they are for; all else comes with the release that is tried. */
  readonly packages: { readonly system: readonly string[]; readonly podman?: readonly string[] };
  /** The emulator, and what it emulates: its program with options. */
  readonly qemu: string;
  /** The serial lines of the kernel and of the shell, and how qemu makes the second one of what it reads and prints itself. */
  readonly lines: { readonly kernel: string; readonly shell: string; readonly qemu: string };
}

/** A small Debian. */
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

/** Debian 12 on x64, whose kernel has no `SO_PEERPIDFD` and no process connector for the agent. */
export const AMD64: Machine = {
  platform: 'amd64',
  debian: undefined,
  kernel: { package: 'linux-image-amd64', name: /^linux-image-6\.1\./ },
  packages: { system: SYSTEM, podman: PODMAN },
  qemu: 'qemu-system-x86_64 -machine q35 -cpu max',
  lines: { kernel: 'ttyS0', shell: 'ttyS1', qemu: '-serial stdio' },
};

/** Debian 13 on arm64, whose kernel has both. */
export const ARM64: Machine = {
  platform: 'arm64',
  debian: 'trixie',
  // The one for machines such as qemu's, a third as large.
  kernel: { package: 'linux-image-cloud-arm64', name: /^linux-image-6\.12\./ },
  packages: { system: SYSTEM },
  // Emulated as processors have it, the authentication of pointers more than doubles the time of a start.
  qemu: 'qemu-system-aarch64 -machine virt -cpu max,pauth-impdef=on',
  lines: { kernel: 'ttyAMA0', shell: 'ttyS0', qemu: '-chardev stdio,id=shell -device pci-serial,chardev=shell' },
};
