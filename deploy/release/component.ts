import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Lock } from './lock.ts';

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
 */
export function npmComponent(lock: Lock, place: string, folder: string): Component {
  const { name, version, license, integrity } = lock.at(place);
  const texts = globSync('{LICENSE,LICENCE,NOTICE,license}{,.md,.txt}', { cwd: folder }).toSorted();
  const hash = Buffer.from(integrity.slice('sha512-'.length), 'base64').toString('hex');
  return {
    name,
    version,
    purl: `pkg:npm/${name.replace('@', '%40')}@${version}`,
    license,
    hash: { alg: 'SHA-512', content: hash },
    texts: texts.map((file) => readFileSync(join(folder, file), 'utf8')),
  };
}

/**
 * The packages that a bundle is made of, in the order of their names.
 *
 * @param root the repository's folder
 * @param from the bundle's files
 */
export function componentsOf(root: string, lock: Lock, from: readonly string[]): readonly Component[] {
  const places = new Set(
    from.flatMap((file) => {
      const [place] = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file.slice(root.length + 1)) ?? [];
      return place === undefined ? [] : [place];
    }),
  );
  if (places.size === 0 || !existsSync(join(root, 'node_modules'))) throw new Error('a bundle of nothing');
  return Array.from(places)
    .toSorted()
    .map((place) => npmComponent(lock, place, join(root, place)));
}
