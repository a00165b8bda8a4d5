import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A package as `package-lock.json` pins it. */
export interface LockedPackage {
  readonly name: string;
  readonly version: string;
  /** `sha512-` and the hash of its archive in base64. */
  readonly integrity: string;
  /** An SPDX expression. */
  readonly license: string;
}

/** What is pinned. */
export class Lock {
  readonly #packages: Readonly<Record<string, Omit<LockedPackage, 'name'>>>;

  /** @param root the repository's folder */
  constructor(root: string) {
    const text = readFileSync(join(root, 'package-lock.json'), 'utf8');
    ({ packages: this.#packages } = JSON.parse(text) as { packages: Record<string, Omit<LockedPackage, 'name'>> });
  }

  /** @param place its folder, from the repository's: `node_modules/pino` */
  at(place: string): LockedPackage {
    const found = this.#packages[place];
    if (found === undefined) throw new Error(`package-lock.json has no ${place}`);
    const { version, integrity, license } = found;
    return {
      name: place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length),
      version,
      integrity,
      license,
    };
  }
}
