import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Component } from './component.ts';
import type { Platform } from './platform.ts';

/** A package of Debian, pinned. */
export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  /** Debian's own. */
  readonly release: 12 | 13;
  /** Where the pool has it. */
  readonly pool: string;
  /** An SPDX expression. */
  readonly license: string;
  /** Of the packages, as Debian has signed them. */
  readonly sha256: Readonly<Record<Platform['name'], string>>;
}

/** A package that was unpacked. */
export interface Unpacked {
  readonly folder: string;
  /** What Debian says of it: a paragraph of fields. */
  readonly control: string;
}

// A newer version takes the place of an older one there; the second keeps what there was on the day when these were pinned.
const POOLS: readonly string[] = [
  'https://deb.debian.org/debian/pool/main',
  'https://snapshot.debian.org/archive/debian/20261124T000000Z/pool/main',
];

/** Gets a package, and unpacks it. @param to a folder for it @throws Error when it is not what was pinned */
export async function unpack(
  { name, version, pool, sha256 }: DebianPackage,
  platform: Platform,
  to: string,
): Promise<Unpacked> {
  const file = `${name}_${version.replace(/^\d+:/, '')}_${platform.name}.deb`;
  const bytes = await download(`${pool}/${file}`);
  const found = createHash('sha256').update(bytes).digest('hex');
  const pinned = sha256[platform.name];
  if (found !== pinned) throw new Error(`${file} has the SHA-256 ${found}, and not ${pinned} as it is pinned`);
  const archive = join(to, file);
  const folder = join(to, name);
  mkdirSync(to, { recursive: true });
  writeFileSync(archive, bytes);
  execFileSync('dpkg-deb', ['--extract', archive, folder]);
  return { folder, control: execFileSync('dpkg-deb', ['--field', archive], { encoding: 'utf8' }) };
}

/** @param copyright the file with its licences */
export function debianComponent(
  { name, version, release, license, sha256 }: DebianPackage,
  platform: Platform,
  copyright: string,
): Component {
  const distro = `arch=${platform.name}&distro=debian-${release}`;
  return {
    name,
    version,
    purl: `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?${distro}`,
    license,
    hash: { alg: 'SHA-256', content: sha256[platform.name] },
    texts: [readFileSync(copyright, 'utf8')],
  };
}

async function download(path: string): Promise<Buffer> {
  const failures: string[] = [];
  for (const pool of POOLS) {
    const url = `${pool}/${path}`;
    try {
      const answer = await fetch(url);
      if (answer.ok) return Buffer.from(await answer.arrayBuffer());
      failures.push(`${url} answers ${answer.status}`);
    } catch (error) {
      // What `fetch` itself says is only that it failed.
      failures.push(`${url}: ${String((error as Error).cause ?? error)}`);
    }
  }
  throw new Error(failures.join('\n'));
}
