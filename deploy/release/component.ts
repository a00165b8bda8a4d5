import { globSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { Lock } from './lock.ts';

const PACKAGE = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/;
const LINES_ABOVE = /^(?:\/\/.*\n)+/;

/** Something of somebody else's that is in a release. */
export interface Component {
  readonly name: string;
  readonly version: string;
  /** A package URL. */
  readonly purl: string;
  /** An SPDX expression. */
  readonly license: string;
  readonly hash: { readonly alg: 'SHA-512' | 'SHA-256'; readonly content: string };
  /** Its licence and notices, as it comes with them. */
  readonly texts: readonly string[];
}

/**
 * A package that npm has installed or unpacked.
 *
 * @param place where `package-lock.json` has it
 * @param folder where it is
 * @param files those that are in a bundle: one that has no licence in a file of its own has it above its code
 */
export function npmComponent(lock: Lock, place: string, folder: string, files: readonly string[] = []): Component {
  const { name, version, license, integrity } = lock.at(place);
  const own = globSync('{LICENSE,LICENCE,NOTICE,license}{,.md,.txt}', { cwd: folder }).toSorted();
  const hash = Buffer.from(integrity.slice('sha512-'.length), 'base64').toString('hex');
  return {
    name,
    version,
    purl: `pkg:npm/${name.replace('@', '%40')}@${version}`,
    license,
    hash: { alg: 'SHA-512', content: hash },
    texts: own.length > 0 ? own.map((file) => readFileSync(join(folder, file), 'utf8')) : noticesAbove(files),
  };
}

/**
 * The packages that a bundle is made of, in the order of their names.
 *
 * @param root the repository's folder
 * @param from the bundle's files
 */
export function componentsOf(root: string, lock: Lock, from: readonly string[]): readonly Component[] {
  const places = Map.groupBy(from, (file) => PACKAGE.exec(relative(root, file))?.[0]);
  return Array.from(places)
    .flatMap(([place, files]) => (place === undefined ? [] : [{ place, files }]))
    .toSorted((one, other) => (one.place < other.place ? -1 : 1))
    .map(({ place, files }) => npmComponent(lock, place, join(root, place), files));
}

function noticesAbove(files: readonly string[]): readonly string[] {
  const notices = files.toSorted().map((file) => LINES_ABOVE.exec(readFileSync(file, 'utf8'))?.[0] ?? '');
  return Array.from(new Set(notices.filter((notice) => notice.includes('Copyright'))));
}
