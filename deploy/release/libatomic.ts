import { join } from 'node:path';
import type { Component } from './component.ts';
import { type DebianPackage, debianComponent, unpack } from './debian.ts';
import type { Platform } from './platform.ts';

const POOL = 'g/gcc-12';
const VERSION = '12.2.0-14+deb12u1';
const LICENSE = 'GPL-3.0-or-later WITH GCC-exception-3.1';

const LIBATOMIC: DebianPackage = {
  name: 'libatomic1',
  version: VERSION,
  release: 12,
  pool: POOL,
  license: LICENSE,
  sha256: {
    amd64: 'fbd4e154a6b444229ea002cc209df099209c0adc09102e5fd21239a3d2b55e2d',
    arm64: '1693aa13ce2b30d061a519fc28b77b9bab8c8e45804ced5969d99821e1bc2159',
  },
};
/** What has the licence of all that is made from GCC. */
const GCC: DebianPackage = {
  name: 'gcc-12-base',
  version: VERSION,
  release: 12,
  pool: POOL,
  license: LICENSE,
  sha256: {
    amd64: '1896a2aacf4ad681ff5eacc24a5b0ca4d5d9c9b9c9e4b6de5197bc1e116ea619',
    arm64: '674cf6cba6d432bd200c45fe866c1652c7a53523cc2e7a613e05bc4abf7b5440',
  },
};

/**
 * Gets the one library of Node that a system with glibc and libstdc++ may lack: Node is linked to it from version 25 on, and neither
 * Debian's smallest system nor a distroless image has it.
 *
 * @param to a folder for it
 */
export async function libatomic(platform: Platform, to: string): Promise<{ library: string; component: Component }> {
  const [{ folder }, gcc] = await Promise.all([unpack(LIBATOMIC, platform, to), unpack(GCC, platform, to)]);
  return {
    library: join(folder, 'usr/lib', platform.triplet, 'libatomic.so.1.2.0'),
    component: debianComponent(LIBATOMIC, platform, join(gcc.folder, 'usr/share/doc/gcc-12-base/copyright')),
  };
}
