import type { Dirent, Stats } from 'node:fs';
import { lstat, opendir, readdir, readlink, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { messageOf, systemCodeOf } from '../kernel/errors.ts';
import { unusableFile } from './problem.ts';

/** What patterns lead to right now. */
export interface Survey {
  /** The files, as the patterns spell them (through symbolic links): sorted, none twice. */
  readonly files: readonly string[];
  /** Every directory on the way by its real path; a change of a name that it `concerns` may change what the patterns lead to. */
  readonly directories: ReadonlyMap<string, SurveyedDirectory>;
}

interface SurveyedDirectory {
  /** Device, inode and birth: a directory that another one has replaced under its name is another directory. */
  readonly identity: string;
  concerns(name: string): boolean;
}

/**
 * The files that absolute `patterns` name: sorted, none twice. `*` and `?` stand for characters of one name, `**` for any number of
 * directories; none of them matches a leading dot (a ConfigMap keeps its second copy in `..data`). A pattern without a wildcard is
 * returned as it is, whether the file exists or not: whoever reads it says that it is missing.
 *
 * @throws InvalidConfig when a directory cannot be read: to take it for empty would end every identity in it
 */
export async function expandGlobs(patterns: readonly string[]): Promise<readonly string[]> {
  const { files } = await survey(patterns, (directory, error) => {
    throw unusableFile(directory, `cannot be searched for files: ${messageOf(error)}`, error);
  });
  return files;
}

/**
 * Walks the file system along absolute `patterns`, through symbolic links, and tells what it finds.
 *
 * @param unreadable told of each directory that has to be searched and cannot be; it may throw
 */
export async function survey(
  patterns: readonly string[],
  unreadable: (directory: string, error: unknown) => void,
): Promise<Survey> {
  const walk = new Walk(unreadable);
  for (const pattern of patterns) {
    const names = pattern.split('/').filter((name) => name !== '');
    if (!names.some(isWildcard)) walk.files.add(pattern);
    // Files below, not the directories themselves.
    if (names.at(-1) === '**') names.push('*');
    const steps = names.map((name) => ({ name, ofLink: false }));
    await walk.along('/', '/', steps, 0);
  }
  return { files: [...walk.files].toSorted(), directories: walk.directories };
}

/** One name on the way. Those of a symbolic link's target are taken literally, and the pattern does not spell them. */
interface Step {
  readonly name: string;
  readonly ofLink: boolean;
}

// As many as the kernel follows (path_resolution(7)).
const MAX_LINKS = 40;

class Walk {
  readonly files = new Set<string>();
  readonly directories = new Map<string, Concerns>();
  readonly #unreadable: (directory: string, error: unknown) => void;

  constructor(unreadable: (directory: string, error: unknown) => void) {
    this.#unreadable = unreadable;
  }

  /**
   * @param real the directory where the walk is, without symbolic links, so that `..` in a link is its parent
   * @param spelled the same directory as the pattern spells it
   */
  async along(real: string, spelled: string, steps: readonly Step[], links: number): Promise<void> {
    const [step, ...rest] = steps;
    if (step === undefined) return;
    const { name, ofLink } = step;
    const spell = (child: string): string => (ofLink ? spelled : join(spelled, child));
    if (name === '.' || name === '..') {
      await this.along(name === '..' ? dirname(real) : real, spell(name), rest, links);
      return;
    }
    const concerns = await this.#concernsOf(real);
    if (ofLink || !isWildcard(name)) {
      concerns?.add((other) => other === name);
      const found = await lstat(join(real, name)).catch(() => undefined);
      if (found !== undefined) await this.#take(join(real, name), found, spell(name), rest, links);
      return;
    }
    const matches = matcher(name);
    concerns?.add(matches);
    if (name === '**') await this.along(real, spelled, rest, links);
    for (const child of await this.#list(real)) {
      if (!matches(child.name)) continue;
      const path = join(real, child.name);
      if (name !== '**') await this.#take(path, child, spell(child.name), rest, links);
      else if (child.isDirectory()) await this.along(path, spell(child.name), steps, links);
    }
  }

  /** Takes a name that is there, and goes on behind it. */
  async #take(
    path: string,
    found: Dirent | Stats,
    spelled: string,
    rest: readonly Step[],
    links: number,
  ): Promise<void> {
    if (rest.every(({ ofLink }) => ofLink)) this.files.add(spelled);
    if (found.isDirectory()) await this.along(path, spelled, rest, links);
    if (!found.isSymbolicLink() || links === MAX_LINKS) return;
    const target = await readlink(path).catch(() => undefined);
    if (target === undefined) return;
    const names = target.split('/').filter((name) => name !== '');
    const steps = [...names.map((name) => ({ name, ofLink: true })), ...rest];
    await this.along(target.startsWith('/') ? '/' : dirname(path), spelled, steps, links + 1);
  }

  /** `undefined` when the directory is not there, or cannot be listed and so cannot be watched. */
  async #concernsOf(directory: string): Promise<Concerns | undefined> {
    const known = this.directories.get(directory);
    if (known !== undefined) return known;
    try {
      // Opening says what access(2) does not: that one asks for the real user, not for the one that counts.
      await (await opendir(directory)).close();
      const stats = await stat(directory);
      const concerns = new Concerns(`${stats.dev}:${stats.ino}:${stats.birthtimeMs}`);
      this.directories.set(directory, concerns);
      return concerns;
    } catch {
      return undefined;
    }
  }

  async #list(directory: string): Promise<readonly Dirent[]> {
    try {
      return await readdir(directory, { withFileTypes: true });
    } catch (error) {
      const code = systemCodeOf(error);
      if (code !== 'ENOENT' && code !== 'ENOTDIR') this.#unreadable(directory, error);
      return [];
    }
  }
}

class Concerns implements SurveyedDirectory {
  readonly identity: string;
  readonly #matchers: ((name: string) => boolean)[] = [];

  constructor(identity: string) {
    this.identity = identity;
  }

  add(matches: (name: string) => boolean): void {
    this.#matchers.push(matches);
  }

  concerns(name: string): boolean {
    return this.#matchers.some((matches) => matches(name));
  }
}

function isWildcard(name: string): boolean {
  return /[*?]/.test(name);
}

function matcher(name: string): (other: string) => boolean {
  const expression = name
    .replaceAll(/[\\^$.|+()[\]{}]/g, String.raw`\$&`)
    .replaceAll(/\*+/g, '.*')
    .replaceAll('?', '.');
  const pattern = new RegExp(`^${expression}$`, 'su');
  return (other) => pattern.test(other) && (name.startsWith('.') || !other.startsWith('.'));
}
