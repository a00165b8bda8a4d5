import { readFileSync } from 'node:fs';
import type { Clock } from '../../kernel/clock.ts';
import { messageOf, systemCodeOf } from '../../kernel/errors.ts';
import { type Selector, selector } from '../../kernel/selector.ts';
import type { ProcessInstance } from '../../peer/instance.ts';
import { type FileStatus, knownStatus } from '../../peer/system/file-status.ts';
import { isAnybodys } from '../../peer/system/mapped-ids.ts';
import { statusField } from '../../peer/system/proc.ts';
import type { Attestor, Found } from '../attestor.ts';
import { tenantOf } from '../container/container-of.ts';
import { NO_CONTEXT } from '../context.ts';
import { Shortcomings } from '../shortcomings.ts';
import { type Executable, isSameFile, openExecutable, statusAtPath } from './executable.ts';
import type { FileDigest } from './file-digest.ts';
import { FileDigests } from './file-digests.ts';
import { whyNotRead } from './file-system.ts';
import type { NameCache } from './name-cache.ts';
import type { UnixSelectors } from './unix-vocabulary.ts';

export interface UnixAttestorOptions extends UnixSelectors {
  /** Executables above this many bytes get no `unix:sha256`; 256 MiB unless said. */
  readonly maxHashSize?: number;
  readonly clock: Clock;
}

const MAX_HASH_SIZE = 256 * 1024 ** 2;
// As many as directories give anybody. The kernel takes 65,536, which root in any container can give himself.
const MOST_GROUPS = 1024;
// What procfs answers for a process that is gone, or that the agent may not look at: not dumpable, of another user, hidepid.
const NOT_READABLE: ReadonlySet<string | undefined> = new Set(['EACCES', 'EPERM', 'ENOENT', 'ESRCH']);

const ANY_PATH =
  'attestors.unix.path is any: unix:path is believed as the process shows it, and any user can show any path';
const SENTENCES = {
  status: 'The supplementary groups of a process may not be read, unix:supplementary_gid and _group are not said of it',
  groups: 'A process has more than 1024 supplementary groups, unix:supplementary_gid and _group are not said of it',
  executable:
    'The executable of a process may not be read, unix:path and unix:sha256 are not said of it; run the agent as root or with CAP_SYS_PTRACE',
  file: 'The file system of an executable tells the agent nothing of it, unix:path and unix:sha256 are not said of it; FUSE does so without allow_other',
  path: 'The path of an executable names another file or none for the agent (a mount namespace, a container, an upgrade since it started), unix:path is not said of it',
  size: 'An executable is larger than attestors.unix.max_hash_size, unix:sha256 is not said of it',
  digest: 'An executable could not be hashed, unix:sha256 is not said of it',
} as const;

/** The `unix` attestor: every process is its own. Says what SPIRE's says, in the same spelling. */
export class UnixAttestor implements Attestor {
  readonly name = 'unix';
  readonly #names: NameCache;
  readonly #says: UnixSelectors;
  readonly #maxHashSize: bigint;
  readonly #digests: FileDigests;
  readonly #shortcomings: Shortcomings<keyof typeof SENTENCES>;

  /** @param names is this attestor's from now on: it closes it */
  constructor(names: NameCache, options: UnixAttestorOptions) {
    this.#names = names;
    this.#says = options;
    this.#maxHashSize = BigInt(options.maxHashSize ?? MAX_HASH_SIZE);
    this.#digests = new FileDigests(options.clock);
    this.#shortcomings = new Shortcomings(SENTENCES, options.clock);
  }

  async attest(instance: ProcessInstance, signal: AbortSignal): Promise<Found> {
    const found = await Promise.all([
      this.#user(instance.uid),
      this.#group(instance.gid),
      this.#supplementaryGroups(instance),
      this.#program(instance, signal),
    ]);
    return { selectors: found.flat(), context: NO_CONTEXT };
  }

  shortcomings(): readonly string[] {
    const standing = this.#says.path === 'any' ? [ANY_PATH] : [];
    return [...standing, ...this.#shortcomings.list(), ...this.#names.shortcomings()];
  }

  async close(): Promise<void> {
    this.#names.close();
    await this.#digests.close();
  }

  async #user(uid: number): Promise<Selector[]> {
    const name = await this.#names.user(uid);
    const number = selector('unix', 'uid', String(uid));
    return name === undefined ? [number] : [number, selector('unix', 'user', name)];
  }

  async #group(gid: number): Promise<Selector[]> {
    const name = await this.#names.group(gid);
    const number = selector('unix', 'gid', String(gid));
    return name === undefined ? [number] : [number, selector('unix', 'group', name)];
  }

  async #supplementaryGroups(instance: ProcessInstance): Promise<Selector[]> {
    const gids = this.#supplementaryGids(instance);
    const names = await this.#names.groups(gids);
    return gids.flatMap((gid, index) => {
      const name = names[index];
      const number = selector('unix', 'supplementary_gid', String(gid));
      return name === undefined ? [number] : [number, selector('unix', 'supplementary_group', name)];
    });
  }

  /**
   * SO_PEERCRED does not tell them, so they are read from procfs, which answers from memory and is asked in line. None of too many is
   * said: a part of them would be a guess.
   */
  #supplementaryGids(instance: ProcessInstance): readonly number[] {
    try {
      const status = readFileSync(`/proc/${instance.pid}/status`, 'latin1');
      const gids = (statusField(status, 'Groups') ?? '').split(' ').filter(Boolean);
      if (gids.length <= MOST_GROUPS) return gids.map(Number).filter((gid) => !isAnybodys('gid', gid));
      this.#shortcomings.note('groups', `process ${instance.pid} of uid ${instance.uid} has ${gids.length}`);
    } catch (error) {
      this.#unreadable('status', instance, error);
    }
    return [];
  }

  async #program(instance: ProcessInstance, signal: AbortSignal): Promise<Selector[]> {
    if (this.#says.path === false && !this.#says.sha256) return [];
    const executable = this.#open(instance);
    if (executable === undefined) return [];
    try {
      const status = this.#statusOf(instance, executable);
      if (status === undefined) return [];
      const atPath = this.#says.path === true ? await statusAtPath(executable.path) : undefined;
      const path = this.#path(instance, executable, status, atPath);
      const sha256 = await this.#sha256(instance, executable, status, signal);
      return [path, sha256].filter((each) => each !== undefined);
    } finally {
      executable.close();
    }
  }

  #open(instance: ProcessInstance): Executable | undefined {
    try {
      return openExecutable(instance.pid);
    } catch (error) {
      this.#unreadable('executable', instance, error);
      return undefined;
    }
  }

  /** A file system of one user alone, as FUSE makes them, tells others nothing, and root neither. */
  #statusOf(instance: ProcessInstance, executable: Executable): ReturnType<typeof knownStatus> | undefined {
    try {
      return knownStatus(executable.descriptor);
    } catch (error) {
      const code = systemCodeOf(error);
      if (code !== 'EACCES' && code !== 'EPERM') throw error;
      this.#shortcomings.note('file', `process ${instance.pid}: ${executable.path}: ${messageOf(error)}`);
      return undefined;
    }
  }

  #path(
    instance: ProcessInstance,
    { path }: Executable,
    status: FileStatus,
    atPath: FileStatus | undefined,
  ): Selector | undefined {
    if (this.#says.path === false) return undefined;
    if (this.#says.path === 'any') return selector('unix', 'path', path);
    if (atPath !== undefined && isSameFile(status, atPath)) return selector('unix', 'path', path);
    this.#shortcomings.note('path', `process ${instance.pid}: ${path}`);
    return undefined;
  }

  async #sha256(
    instance: ProcessInstance,
    { descriptor, path }: Executable,
    status: ReturnType<typeof knownStatus>,
    signal: AbortSignal,
  ): Promise<Selector | undefined> {
    if (!this.#says.sha256) return undefined;
    const about = `process ${instance.pid}: ${path}`;
    if (status.size > this.#maxHashSize) {
      this.#shortcomings.note('size', `${about} has ${status.size} bytes, the limit is ${this.#maxHashSize}`);
      return undefined;
    }
    const digest = this.#digests.known(status) ?? (await this.#read(instance, descriptor, status, signal));
    if (digest.kind === 'digest') return selector('unix', 'sha256', digest.hex);
    if (instance.alive()) this.#shortcomings.note('digest', `${about}: ${digest.message}`);
    return undefined;
  }

  async #read(
    instance: ProcessInstance,
    descriptor: number,
    status: ReturnType<typeof knownStatus>,
    signal: AbortSignal,
  ): Promise<FileDigest> {
    const why = whyNotRead(instance.pid, status.mount);
    if (why !== undefined) return { kind: 'unreadable', message: `it ${why}` };
    return await this.#digests.of(descriptor, status, tenantOf(instance), signal);
  }

  /**
   * A process that may not be looked at is told in status; one that has gone is not: the runner throws away what was found of it.
   *
   * @throws any error that says neither
   */
  #unreadable(what: 'status' | 'executable', instance: ProcessInstance, error: unknown): void {
    if (!NOT_READABLE.has(systemCodeOf(error))) throw error;
    if (instance.alive())
      this.#shortcomings.note(what, `process ${instance.pid} of uid ${instance.uid}: ${messageOf(error)}`);
  }
}
