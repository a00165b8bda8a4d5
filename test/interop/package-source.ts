import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tool } from './toolchains.ts';

/** Where packages of Debian come from: options of apt's. */
export type PackageSource = readonly string[];

/** Where this machine gets its own from. */
export const OWN_SOURCE: PackageSource = [];

/** What Debian signs with, as far as this machine trusts it. */
export const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** A Debian that is not this machine's. */
export interface ForeignDebian {
  /** Where its packages are, as apt names it. */
  readonly site: string;
  /** The name of the version. */
  readonly version: string;
  /** What it is for, as Debian names it. */
  readonly processor: string;
}

/** Where this machine gets Debian's own packages from. @throws when it gets none of these */
export async function debianSite(): Promise<string> {
  const filters = ['Created-By: Packages', 'Origin: Debian', 'Label: Debian', 'Component: main'];
  const ask = () => tool('apt-get', ['indextargets', '--format', '$(SITE)', ...filters], '/');
  // What a source is of stands in its lists, which a machine on which nothing was ever installed has none of.
  const told = (await ask()) || (await tool('apt-get', ['update', '--quiet'], '/').then(ask));
  const [site = ''] = told.split('\n');
  if (site === '') throw new Error('this machine gets no packages of Debian');
  return site;
}

/** @param directory for what apt gets to know of it, which this machine's own lists are kept out of */
export function foreignSource(directory: string, { processor, site, version }: ForeignDebian): PackageSource {
  mkdirSync(join(directory, 'lists/partial'), { recursive: true });
  const list = join(directory, 'sources.list');
  const options = `[arch=${processor} target=Packages signed-by=${KEYRING}]`;
  writeFileSync(list, `deb ${options} ${site} ${version} main\n`);
  const settings = [
    `APT::Architecture=${processor}`,
    `Dir::Cache=${directory}`,
    `Dir::State=${directory}`,
    'Dir::State::status=/dev/null',
    `Dir::Etc::sourcelist=${list}`,
    'Dir::Etc::sourceparts=/dev/null',
    'Dir::Etc::preferencesparts=/dev/null',
  ];
  return settings.flatMap((setting) => ['-o', setting]);
}
