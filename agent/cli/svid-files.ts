import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { isLackOfRoom, isMayflyError, MayflyError, messageOf, systemCodeOf } from '../kernel/errors.ts';
import { makeDirectory } from '../kernel/made-directory.ts';
import { syncDirectory } from '../kernel/replaced-file.ts';
import { readStartTime } from '../peer/system/proc.ts';

/** One rotation, in PEM. */
export interface SvidPem {
  /** Leaf first, then intermediates. */
  readonly svid: string;
  /** PKCS#8. */
  readonly key: string;
  /** The roots of the own trust domain alone: in one file a foreign root could vouch for it. */
  readonly bundle: string;
  /** The revocation lists of every CA of the own trust domain; absent where the agent gives none out. */
  readonly crl?: string;
}

/** Which files a set has. */
export interface FileSet<C> {
  /** Tells what belongs to this set from what belongs to another in the same directory. */
  readonly mark: string;
  /** `of` says what is in the file; `undefined` where it is to be absent. */
  readonly files: readonly {
    readonly name: string;
    readonly mode: number;
    readonly of: (content: C) => string | undefined;
  }[];
}

export const X509_FILES: FileSet<SvidPem> = {
  mark: '',
  files: [
    { name: 'bundle.pem', mode: 0o644, of: ({ bundle }) => bundle },
    { name: 'crl.pem', mode: 0o644, of: ({ crl }) => crl },
    { name: 'key.pem', mode: 0o600, of: ({ key }) => key },
    { name: 'svid.pem', mode: 0o644, of: ({ svid }) => svid },
  ],
};

/**
 * Files in a directory that are replaced as a set: as in a Kubernetes volume they are links through `..data`, one link to a directory
 * that is never changed once it is linked. Who resolves `..data` once and reads there never sees the key of one rotation with the
 * certificate of another; to open several files by their names takes several looks at the link.
 */
export class SvidFiles<C> {
  readonly directory: string;
  readonly #files: FileSet<C>['files'];
  readonly #current: string;
  readonly #versions: string;
  readonly #owner = `${process.pid}-${readStartTime(process.pid) ?? 0}`;
  static #written = 0;

  private constructor(directory: string, { files, mark }: FileSet<C>) {
    this.directory = directory;
    this.#files = files;
    this.#current = `..${mark}data`;
    this.#versions = `..mayfly-${mark}`;
  }

  /**
   * Takes a directory over, which is made (0700) where it is missing. What an ended process has left there is replaced by the first
   * {@link write}.
   *
   * @throws MayflyError `PERMISSION_MISSING`; `INVALID_USAGE` when others may write there, files of these names are not ours, or another
   *   process keeps them
   */
  static open<C>(path: string, set: FileSet<C>): SvidFiles<C> {
    const files = new SvidFiles(resolve(path), set);
    files.#attempt(() => {
      makeDirectory(files.directory, 0o700);
      files.#assertOurs();
    });
    return files;
  }

  /** Where a file of the set is to be found, now and after every rotation. */
  path(name: string): string {
    return join(this.directory, name);
  }

  /**
   * Replaces the set. When this returns it is on the disk, and the last one is gone from it.
   *
   * @throws MayflyError `DISK_FULL`, `PERMISSION_MISSING`; the last set is then still there, whole
   */
  write(content: C): void {
    SvidFiles.#written += 1;
    const version = `${this.#versions}${this.#owner}-${SvidFiles.#written}`;
    this.#attempt(() => {
      this.#assertOurs();
      try {
        this.#fill(join(this.directory, version), content);
        this.#link(version, content);
      } catch (error) {
        // Once it is linked it is the set, whatever failed behind that.
        if (this.#linked() !== version) rmSync(join(this.directory, version), { recursive: true, force: true });
        throw error;
      }
      this.#removeVersions(version);
    });
  }

  /** Removes the set in one step. May be called again, and {@link write} after it. */
  wipe(): void {
    this.#attempt(() => {
      // Another process may have taken the directory over since.
      if (this.#linked()?.startsWith(`${this.#versions}${this.#owner}-`) !== true) return;
      rmSync(join(this.directory, this.#current), { force: true });
      for (const { name } of this.#files) rmSync(join(this.directory, name), { force: true });
      this.#removeVersions(undefined);
      syncDirectory(this.directory);
    });
  }

  #fill(directory: string, content: C): void {
    mkdirSync(directory, { mode: 0o755 });
    for (const { name, mode, of } of this.#files) {
      const text = of(content);
      if (text !== undefined) writeFileSync(join(directory, name), text, { flag: 'wx', mode, flush: true });
    }
    syncDirectory(directory);
  }

  #link(version: string, content: C): void {
    const staged = join(this.directory, `${version}.link`);
    symlinkSync(version, staged);
    renameSync(staged, join(this.directory, this.#current));
    for (const { name, of } of this.#files) {
      // A name that leads nowhere would be taken for a list that cannot be read.
      if (of(content) === undefined) rmSync(join(this.directory, name), { force: true });
      else if (linkIn(this.directory, name) === undefined)
        symlinkSync(`${this.#current}/${name}`, join(this.directory, name));
    }
    syncDirectory(this.directory);
  }

  /** The versions of ended processes too, which were killed before they could. */
  #removeVersions(except: string | undefined): void {
    for (const name of readdirSync(this.directory)) {
      if (name !== except && this.#writerOf(name.replace(/\.link$/, '')) !== undefined) {
        rmSync(join(this.directory, name), { recursive: true, force: true });
      }
    }
  }

  /** `..mayfly-<pid>-<start time>-<count>`: which process has written it, so that two do not write in turn. */
  #writerOf(version: string): { readonly pid: string; readonly startTime: string } | undefined {
    if (!version.startsWith(this.#versions)) return undefined;
    const [, pid, startTime] = /^(\d+)-(\d+)-\d+$/.exec(version.slice(this.#versions.length)) ?? [];
    return pid === undefined || startTime === undefined ? undefined : { pid, startTime };
  }

  #linked(): string | undefined {
    return linkIn(this.directory, this.#current)?.target;
  }

  #assertOurs(): void {
    const { mode, uid } = statSync(this.directory);
    // Whoever may write to the directory can put another key in place of ours.
    if ((mode & 0o022) !== 0 || (uid !== process.geteuid?.() && uid !== 0)) {
      throw this.#unusable(`others may write to it`, `use a directory of your own, or 'chmod go-w ${this.directory}'`);
    }
    for (const { name } of this.#files) {
      const link = linkIn(this.directory, name);
      if (link !== undefined && link.target !== `${this.#current}/${name}`) {
        throw this.#unusable(`it has a ${name} that this program did not write`, 'remove it, or use another directory');
      }
    }
    const link = linkIn(this.directory, this.#current);
    if (link === undefined) return;
    const writer = this.#writerOf(link.target ?? '');
    if (writer === undefined) {
      throw this.#unusable(`it has a ${this.#current} that this program did not write`, 'use another directory');
    }
    const { pid, startTime } = writer;
    if (`${pid}-${startTime}` !== this.#owner && readStartTime(Number(pid)) === startTime) {
      throw this.#unusable(`process ${pid} keeps an identity there`, 'stop that process, or use another directory');
    }
  }

  #unusable(problem: string, remedy: string): MayflyError {
    return new MayflyError('INVALID_USAGE', `${this.directory} cannot hold the identity, ${problem}: ${remedy}`);
  }

  #attempt(run: () => void): void {
    try {
      run();
    } catch (error) {
      throw this.#explained(error);
    }
  }

  #explained(error: unknown): unknown {
    const system = systemCodeOf(error);
    // Our own, and Node's ERR_…, are not what the disk says.
    if (system === undefined || isMayflyError(error) || system.startsWith('ERR_')) return error;
    if (isLackOfRoom(error)) {
      return new MayflyError('DISK_FULL', `there is no room in ${this.directory}; make some`, { cause: error });
    }
    const reason = messageOf(error);
    return new MayflyError(
      'PERMISSION_MISSING',
      `${this.directory} cannot be written, use another directory: ${reason}`,
      {
        cause: error,
      },
    );
  }
}

/** What a name stands for in a directory: `target` is where it leads, `undefined` where it is no symbolic link. */
function linkIn(directory: string, name: string): { target: string | undefined } | undefined {
  const path = join(directory, name);
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return undefined;
  return { target: found.isSymbolicLink() ? readlinkSync(path) : undefined };
}
