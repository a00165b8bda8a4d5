import { closeSync } from 'node:fs';
import type { Clock } from '../kernel/clock.ts';
import { messageOf, systemCodeOf } from '../kernel/errors.ts';
import {
  type Adoption,
  differenceFrom,
  type NotAdopted,
  notAdopted,
  type RecordedInstance,
  UNKNOWN,
} from './adoption.ts';
import { Continuity } from './continuity.ts';
import { type PeerCredentials, type Unidentified, unidentified } from './credentials.ts';
import type { ExitWatch } from './exit-watch.ts';
import { HeldProcess } from './held-process.ts';
import { endText, type ProcessInstance } from './instance.ts';
import { Looks } from './looks.ts';
import { describe, hasExited, openPidfd, pidfdInode } from './system/pidfd.ts';
import { ownerOf, readBootId, readStartTime } from './system/proc.ts';

/** A connection's share in the process that opened it, to be released when the connection is closed. */
export interface Attribution {
  readonly kind: 'identified';
  readonly instance: ProcessInstance;
  readonly release: () => void;
}

/** How changes of processes that do not call are noticed, for `status`. */
export interface Watching {
  /** `process-connector`: the kernel tells of an `execve` and of ids; `looks`: all processes are looked at for them. */
  readonly kind: 'process-connector' | 'looks';
  /** Why it is not the process connector; empty when it is. */
  readonly reason: string;
  /** How often the process connector lost events, each time made good by a look at all processes. */
  readonly losses: number;
  /** How much of one processor the looks take, which go on in both cases for cgroups and namespaces, in percent. */
  readonly lookPercent: number;
}

/** The processes that are connected or held: one instance for one living process, however many connections it has. */
export class Instances {
  readonly #watch: ExitWatch;
  readonly #clock: Clock;
  readonly #bootId = readBootId();
  readonly #byPid = new Map<number, HeldProcess>();
  readonly #looks: Looks;
  readonly #unfollow: () => void;
  #count = 0;
  #closed = false;

  /** @param watch tells of exits, and of changes where it can; stays its maker's to close, after this */
  constructor(watch: ExitWatch, clock: Clock) {
    this.#watch = watch;
    this.#clock = clock;
    this.#looks = new Looks(this.#byPid, clock, () => watch.events.reason === '');
    this.#unfollow = watch.events.follow({
      changed: (pid) => this.#byPid.get(pid)?.look('whole'),
      lost: () => this.#looks.all(),
    });
  }

  /** How many processes are held. */
  get size(): number {
    return this.#byPid.size;
  }

  /**
   * Attributes a connection to the process that opened it. Takes the pidfd over, in every case: it is kept or closed.
   *
   * Unidentified is a process that has exited, runs under other ids than it connected under, or cannot be held because the agent is
   * out of descriptors.
   */
  attribute(credentials: PeerCredentials): Attribution | Unidentified {
    const known = this.#byPid.get(credentials.pid);
    // Both pidfds are of living processes, and no two of these have one number: they are of the same process.
    if (known?.alive() === true && known.uid === credentials.uid && known.gid === credentials.gid) {
      closeSync(credentials.pidfd);
      return { kind: 'identified', instance: known, release: known.hold() };
    }
    const made = this.#make(credentials);
    if (made.kind === 'unidentified') closeSync(credentials.pidfd);
    return made;
  }

  /**
   * Holds the process that has a number now, for somebody who asks about it. That it has connected, or that it is who he means, is not
   * said.
   */
  find(pid: number): Attribution | Unidentified {
    let pidfd: number;
    try {
      pidfd = openPidfd(pid);
    } catch (error) {
      const gone = ['ESRCH', 'EINVAL', 'ENOENT'].includes(systemCodeOf(error) ?? '');
      return gone
        ? unidentified('exited', `there is no process ${pid} in the agent's pid namespace`)
        : unidentified('unverifiable', `process ${pid} cannot be held: ${messageOf(error)}`);
    }
    const ids = describe(pidfd) ?? ownerOf(pid);
    if (ids !== undefined) return this.attribute({ pid, uid: ids.uid, gid: ids.gid, pidfd, proof: 'start-time' });
    closeSync(pidfd);
    return unidentified('unverifiable', `the agent cannot see whose process ${pid} is`);
  }

  /**
   * Finds an instance of an earlier run of the agent again: the same process, which has executed nothing since and is where and what it
   * was. It is held and watched like one that has connected, and is the instance of the connections that it opens.
   */
  adopt(recorded: RecordedInstance): Adoption {
    const { pid } = recorded;
    if (recorded.bootId !== this.#bootId) return notAdopted('rebooted', 'the machine was started again');
    const known = this.#byPid.get(pid);
    if (known?.alive() === true) return this.#compared(recorded, known, known.hold());
    const opened = openRecorded(recorded);
    if ('kind' in opened) return opened;
    const made = this.#make(opened);
    if (made.kind === 'identified') return this.#compared(recorded, made.instance, made.release);
    closeSync(opened.pidfd);
    if (made.reason === 'exited') return notAdopted('gone', made.detail);
    // Ids are compared with those recorded: that others hold the number is said by its start time.
    const other = recorded.startTime !== UNKNOWN && readStartTime(pid) !== recorded.startTime;
    if (other) return notAdopted('replaced', `the number ${pid} belongs to another process now`);
    if (made.reason !== 'changed') return notAdopted('unverifiable', made.detail);
    return notAdopted('changed-ids', `process ${pid} runs under other ids than it ran under`);
  }

  /** How changes of processes are noticed. */
  watching(): Watching {
    const { reason, losses } = this.#watch.events;
    const kind = reason === '' ? 'process-connector' : 'looks';
    return { kind, reason, losses, lookPercent: this.#looks.percent };
  }

  /** What cannot be noticed of processes that are held now, for `status`: one sentence each; empty when all is well. */
  shortcomings(): readonly string[] {
    let [execs, namespaces] = [0, 0];
    for (const process of this.#byPid.values()) {
      if (!process.noticesExec) execs += 1;
      if (!process.noticesNamespaces) namespaces += 1;
    }
    return [
      ...this.#unnoticed('an execve', execs),
      ...this.#unnoticed('a change of namespaces', namespaces),
      ...this.#late(),
    ];
  }

  /** Lets go of all processes; none of them ends by it. */
  close(): void {
    this.#closed = true;
    this.#unfollow();
    this.#looks.close();
    for (const process of this.#byPid.values()) process.release();
  }

  #unnoticed(what: string, count: number): string[] {
    if (count === 0) return [];
    return [
      `${what} goes unnoticed in ${count} of ${this.size} processes, which the agent may not look into: ` +
        'run it as root or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, and mount /proc without hidepid',
    ];
  }

  #late(): string[] {
    const { fullWithin } = this.#looks;
    if (this.size === 0 || fullWithin < 500) return [];
    return [
      `there is so much to look at that a process that does not call may be in another namespace for ${fullWithin} ms unnoticed`,
    ];
  }

  #make(credentials: PeerCredentials): Attribution | Unidentified {
    const { pid, pidfd } = credentials;
    if (this.#closed) return unidentified('exited', 'the agent is stopping');
    let continuity: Continuity | undefined;
    try {
      continuity = new Continuity(pid, pidfd, credentials, this.#clock);
      const startTime = readStartTime(pid) ?? UNKNOWN;
      const standing = continuity.standing('quick');
      const problem =
        hasExited(pidfd) || standing === 'gone'
          ? unidentified('exited', `process ${pid} has exited`)
          : standing !== 'same'
            ? unidentified('changed', `process ${pid} ${endText(standing)} since it opened the connection`)
            : undefined;
      if (problem !== undefined) {
        continuity.close();
        return problem;
      }
      const key = `${pid}.${startTime}.${++this.#count}`;
      const parts = { key, startTime, bootId: this.#bootId, continuity };
      const process = new HeldProcess(credentials, parts, (released) => this.#forget(released));
      process.watchedBy((descriptor, exited) => this.#watch.add(descriptor, exited));
      // One that still passes for alive under this number has other ids, which the kernel could not tell us of.
      this.#byPid.get(pid)?.finish('changed-ids');
      this.#byPid.set(pid, process);
      this.#looks.start();
      return { kind: 'identified', instance: process, release: process.hold() };
    } catch (error) {
      continuity?.close();
      return unidentified('unverifiable', `process ${pid} cannot be held: ${messageOf(error)}`);
    }
  }

  /** Decides over a held process, which is let go of again unless it is the one that was recorded. */
  #compared(recorded: RecordedInstance, instance: ProcessInstance, release: () => void): Adoption {
    // In this order: what was read of /proc was said of this process only if it lives afterwards.
    const difference = differenceFrom(recorded, instance);
    if (difference === undefined && instance.alive('whole')) return { kind: 'adopted', instance, release };
    release();
    return difference ?? ended(instance);
  }

  #forget(released: HeldProcess): void {
    if (this.#byPid.get(released.pid) === released) this.#byPid.delete(released.pid);
  }
}

/** A pidfd for the number that was recorded, and how well it is known to be of the same process. */
function openRecorded({ pid, uid, gid, facts }: RecordedInstance): PeerCredentials | NotAdopted {
  try {
    const pidfd = openPidfd(pid);
    const proof = facts.inode !== undefined && pidfdInode(pidfd) === facts.inode ? 'pidfd' : 'start-time';
    return { pid, uid, gid, pidfd, proof };
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'ESRCH') return notAdopted('gone', `process ${pid} has exited`);
    // It is the number of a thread now.
    if (code === 'ENOENT' || code === 'EINVAL')
      return notAdopted('replaced', `the number ${pid} belongs to another process now`);
    return notAdopted('unverifiable', `process ${pid} cannot be held: ${messageOf(error)}`);
  }
}

function ended({ pid, end }: ProcessInstance): NotAdopted {
  const kind = end === undefined || end === 'exited' ? 'gone' : end;
  return notAdopted(kind, `process ${pid} ${endText(end)}`);
}
