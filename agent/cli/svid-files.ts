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

const FILES = [
  { name: 'bundle.pem', mode: 0o644, part: 'bundle' },
  { name: 'crl.pem', mode: 0o644, part: 'crl' },
  { name: 'key.pem', mode: 0o600, part: 'key' },
  { name: 'svid.pem', mode: 0o644, part: 'svid' },
] as const;
const CURRENT = '..data';
/** `..mayfly-<pid>-<start time>-<count>`: which process has written it, so that two do not write in turn. */
const VERSION = /^\.\.mayfly-(\d+)-(\d+)-\d+$/;

/**
 * `svid.pem`, `key.pem`, `bundle.pem` and `crl.pem` in a directory, replaced as a set: as in a Kubernetes volume they are links through
 * `..data`, one link to a directory that is never changed once it is linked. Who resolves `..data` once and reads there never sees the
 * key of one rotation with the certificate of another; to open several files by their names takes several looks at the link.
 */
export class SvidFiles {
  readonly directory: string;
  readonly #owner = `${process.pid}-${readStartTime(process.pid) ?? 0}`;
  static #written = 0;

  private constructor(directory: string) {
    this.directory = directory;
  }

  /**
   * Takes a directory over, which is made (0700) where it is missing. What an ended process has left there is replaced by the first
   * {@link write}.
   *
   * @throws MayflyError `PERMISSION_MISSING`; `INVALID_USAGE` when others may write there, files of these names are not ours, or another
   *   process keeps them
   */
  static open(path: string): SvidFiles {
    const files = new SvidFiles(resolve(path));
    files.#attempt(() => {
      mkdirSync(files.directory, { recursive: true, mode: 0o700 });
      files.#assertOurs();
    });
    return files;
  }

  /** Where a file of the set is to be found, now and after every rotation. */
  path(part: keyof SvidPem): string {
    return join(this.directory, `${part}.pem`);
  }

  /**
   * Replaces the set. When this returns it is on the disk, and the last one is gone from it.
   *
   * @throws MayflyError `DISK_FULL`, `PERMISSION_MISSING`; the last set is then still there, whole
   */
  write(pem: SvidPem): void {
    SvidFiles.#written += 1;
    const version = `..mayfly-${this.#owner}-${SvidFiles.#written}`;
    this.#attempt(() => {
      this.#assertOurs();
      try {
        this.#fill(join(this.directory, version), pem);
        this.#link(version, pem);
      } catch (error) {
        // Once it is linked it is the set, whatever failed behind that.
        if (this.#current() !== version) rmSync(join(this.directory, version), { recursive: true, force: true });
        throw error;
      }
      this.#removeVersions(version);
    });
  }

  /** Removes the set in one step. May be called again, and {@link write} after it. */
  wipe(): void {
    this.#attempt(() => {
      // Another process may have taken the directory over since.
      if (this.#current()?.startsWith(`..mayfly-${this.#owner}-`) !== true) return;
      rmSync(join(this.directory, CURRENT), { force: true });
      for (const { name } of FILES) rmSync(join(this.directory, name), { force: true });
      this.#removeVersions(undefined);
      syncDirectory(this.directory);
    });
  }

  #fill(directory: string, pem: SvidPem): void {
    mkdirSync(directory, { mode: 0o755 });
    for (const { name, mode, part } of FILES) {
      const text = pem[part];
      if (text !== undefined) writeFileSync(join(directory, name), text, { flag: 'wx', mode, flush: true });
    }
    syncDirectory(directory);
  }

  #link(version: string, pem: SvidPem): void {
    const staged = join(this.directory, `${version}.link`);
    symlinkSync(version, staged);
    renameSync(staged, join(this.directory, CURRENT));
    for (const { name, part } of FILES) {
      // A name that leads nowhere would be taken for a list that cannot be read.
      if (pem[part] === undefined) rmSync(join(this.directory, name), { force: true });
      else if (linkIn(this.directory, name) === undefined)
        symlinkSync(`${CURRENT}/${name}`, join(this.directory, name));
    }
    syncDirectory(this.directory);
  }

  /** The versions of ended processes too, which were killed before they could. */
  #removeVersions(except: string | undefined): void {
    for (const name of readdirSync(this.directory)) {
      if (name !== except && VERSION.test(name.replace(/\.link$/, ''))) {
        rmSync(join(this.directory, name), { recursive: true, force: true });
      }
    }
  }

  #current(): string | undefined {
    return linkIn(this.directory, CURRENT)?.target;
  }

  #assertOurs(): void {
    const { mode, uid } = statSync(this.directory);
    // Whoever may write to the directory can put another key in place of ours.
    if ((mode & 0o022) !== 0 || (uid !== process.geteuid?.() && uid !== 0)) {
      throw this.#unusable(`others may write to it`, `use a directory of your own, or 'chmod go-w ${this.directory}'`);
    }
    for (const { name } of FILES) {
      const link = linkIn(this.directory, name);
      if (link !== undefined && link.target !== `${CURRENT}/${name}`) {
        throw this.#unusable(`it has a ${name} that this program did not write`, 'remove it, or use another directory');
      }
    }
    const link = linkIn(this.directory, CURRENT);
    if (link === undefined) return;
    const [, pid, startTime] = VERSION.exec(link.target ?? '') ?? [];
    if (pid === undefined) {
      throw this.#unusable(`it has a ${CURRENT} that this program did not write`, 'use another directory');
    }
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
