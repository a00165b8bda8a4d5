import { cpSync, globSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DebianPackage, debianComponent, unpack } from './debian.ts';
import { setModes } from './modes.ts';
import type { Origin } from './origin.ts';
import type { Platform } from './platform.ts';
import { sbom } from './sbom.ts';

interface Part extends DebianPackage {
  /** The files of it that are taken. `TRIPLET` is the folder of the platform's libraries. */
  readonly takes: readonly string[];
}

const GCC = {
  version: '14.2.0-19',
  release: 13,
  pool: 'g/gcc-14',
  license: 'GPL-3.0-or-later WITH GCC-exception-3.1',
} as const;

const PARTS: readonly Part[] = [
  {
    name: 'base-files',
    version: '13.8+deb13u8',
    release: 13,
    pool: 'b/base-files',
    license: 'GPL-2.0-or-later',
    sha256: {
      amd64: 'f5a0546098f38bad5843380521781fe7214e5a283d3bed63f79c505545f262af',
      arm64: '893616b7ce203a05a0528652f7d754cc5e3de7e8eff3b396f95383a5b8b1c668',
    },
    takes: ['usr/lib/os-release', 'usr/share/common-licenses', 'usr/share/doc/base-files/copyright'],
  },
  {
    name: 'libc6',
    version: '2.41-12+deb13u5',
    release: 13,
    pool: 'g/glibc',
    license: 'LGPL-2.1-or-later',
    sha256: {
      amd64: 'b59b0625cd1a791375d40dab23a4d5d3d0641e3d0a773501becdc3725b7f99cf',
      arm64: '0966fc3da1a26cc57647c68b5736f791b6e7eb498173a7993f63b6c89b4ed4f5',
    },
    takes: [
      'usr/lib/TRIPLET/{ld-linux-*,libc.so.*,libdl.so.*,libm.so.*,libpthread.so.*,libresolv.so.*,librt.so.*}',
      'usr/{lib,lib64}/ld-linux-*',
      'usr/share/doc/libc6/copyright',
    ],
  },
  {
    ...GCC,
    name: 'libgcc-s1',
    sha256: {
      amd64: '3c71917b490d1a17aed43196a2787a256ecf060526cdb20216a74bedc061b150',
      arm64: '1108bc87879833d6d9a145f22a4a15cddb34e065b4b5f4b97bee586adbac2851',
    },
    takes: ['usr/lib/TRIPLET/libgcc_s.so.*'],
  },
  {
    ...GCC,
    name: 'libstdc++6',
    sha256: {
      amd64: 'ab1fa05837aa7a92aae748fd07a18a35f7d18bb4a71c4724fe2bbf0e32089de0',
      arm64: '6669b0c52a2e7c6af9adfdabce3ff6e286065cdfbc7b85280862b5f799daebee',
    },
    takes: ['usr/lib/TRIPLET/libstdc++.so.*'],
  },
  {
    ...GCC,
    name: 'gcc-14-base',
    sha256: {
      amd64: '5b6825de4263824b78c4c51f6476414f3b4e89c2ab63e81dc8b9b5501e867cf6',
      arm64: '34ee90679b018c0e64234747a4c4c0ae6b7f63541115037465a8627c2dfbc594',
    },
    takes: ['usr/share/doc/gcc-14-base/copyright'],
  },
];

const FILES: Readonly<Record<string, string>> = {
  'etc/passwd': 'root:x:0:0:root:/root:/sbin/nologin\nmayfly:x:65532:65532:mayfly:/var/lib/mayfly:/sbin/nologin\n',
  'etc/group': 'root:x:0:\nmayfly:x:65532:\n',
  // glibc's own order asks DNS for localhost.
  'etc/nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
};
const LINKS: Readonly<Record<string, string>> = {
  lib: 'usr/lib',
  lib64: 'usr/lib64',
  'etc/os-release': '../usr/lib/os-release',
  'usr/share/doc/libgcc-s1': 'gcc-14-base',
  'usr/share/doc/libstdc++6': 'gcc-14-base',
};

/**
 * Lays out what an image has below the program: Debian's C and C++ libraries, and nothing to run. Scanners of images know what is in it
 * by `/var/lib/dpkg/status.d`, as distroless images have it.
 *
 * @param to the folder that is made
 * @param scratch for what is downloaded
 */
export async function layOutBase(origin: Origin, platform: Platform, to: string, scratch: string): Promise<void> {
  const status = join(to, 'var/lib/dpkg/status.d');
  for (const folder of ['etc', 'run', 'tmp', 'usr/lib64', 'var/lib/dpkg/status.d', 'usr/share/doc/mayfly-base']) {
    mkdirSync(join(to, folder), { recursive: true });
  }
  const unpacked = await Promise.all(PARTS.map(async (part) => ({ part, ...(await unpack(part, platform, scratch)) })));
  for (const { part, folder, control } of unpacked) {
    const patterns = part.takes.map((pattern) => pattern.replace('TRIPLET', platform.triplet));
    for (const pattern of patterns) {
      for (const path of globSync(pattern, { cwd: folder })) {
        cpSync(join(folder, path), join(to, path), { recursive: true, verbatimSymlinks: true });
      }
    }
    writeFileSync(join(status, part.name), control);
  }
  for (const [path, text] of Object.entries(FILES)) writeFileSync(join(to, path), text);
  for (const [path, target] of Object.entries(LINKS)) symlinkSync(target, join(to, path));
  // A part has its licence, or a link to where it is.
  const components = PARTS.map((part) =>
    debianComponent(part, platform, join(to, 'usr/share/doc', part.name, 'copyright')),
  );
  writeFileSync(join(to, 'usr/share/doc/mayfly-base/sbom.cdx.json'), sbom('mayfly-base', origin, platform, components));
  setModes(to, { executable: /\/ld-linux-/, sticky: /^tmp$/ });
}
