import { closeSync } from 'node:fs';
import type { Alarm, Clock } from '../kernel/clock.ts';
import { messageOf } from '../kernel/errors.ts';
import { Continuity } from './continuity.ts';
import { type PeerCredentials, type Unidentified, unidentified } from './credentials.ts';
import type { ExitWatch } from './exit-watch.ts';
import { HeldProcess } from './held-process.ts';
import type { ProcessInstance } from './instance.ts';
import { hasExited } from './system/pidfd.ts';
import { readBootId, readStartTime } from './system/proc.ts';

/** A connection's share in the process that opened it, to be released when the connection is closed. */
export interface Attribution {
  readonly kind: 'identified';
  readonly instance: ProcessInstance;
  readonly release: () => void;
}

// The kernel tells of exits but not of execve: each process is looked at once in eight ticks, that is in two seconds.
const LOOK_MS = 250;
const LOOKS_A_ROUND = 8;

/** The processes that are connected or held: one instance for one living process, however many connections it has. */
export class Instances {
  readonly #watch: ExitWatch;
  readonly #clock: Clock;
  readonly #bootId = readBootId();
  readonly #byPid = new Map<number, HeldProcess>();
  #count = 0;
  #alarm: Alarm | undefined;
  #round: Iterator<HeldProcess> | undefined;
  #closed = false;

  /** @param watch tells of exits; stays its maker's to close, after this */
  constructor(watch: ExitWatch, clock: Clock) {
    this.#watch = watch;
    this.#clock = clock;
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

  /** What cannot be noticed of processes that are held now, for `status`: one sentence each; empty when all is well. */
  shortcomings(): readonly string[] {
    let blind = 0;
    for (const process of this.#byPid.values()) if (!process.noticesExec) blind += 1;
    if (blind === 0) return [];
    return [
      `an execve goes unnoticed in ${blind} of ${this.size} processes, which the agent may not look into: ` +
        'run it as root or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, and mount /proc without hidepid',
    ];
  }

  /** Lets go of all processes; none of them ends by it. */
  close(): void {
    this.#closed = true;
    this.#alarm?.cancel();
    for (const process of this.#byPid.values()) process.release();
  }

  #make(credentials: PeerCredentials): Attribution | Unidentified {
    const { pid, pidfd } = credentials;
    if (this.#closed) return unidentified('exited', 'the agent is stopping');
    let continuity: Continuity | undefined;
    try {
      continuity = new Continuity(pid, pidfd, credentials);
      const startTime = readStartTime(pid) ?? 'unknown';
      const standing = continuity.standing();
      const problem =
        hasExited(pidfd) || standing === 'gone'
          ? unidentified('exited', `process ${pid} has exited`)
          : standing === 'changed'
            ? unidentified('changed', `process ${pid} runs under other ids or another program than it connected with`)
            : undefined;
      if (problem !== undefined) {
        continuity.close();
        return problem;
      }
      const key = `${pid}.${startTime}.${++this.#count}`;
      const facts = { key, startTime, bootId: this.#bootId, continuity };
      const process = new HeldProcess(credentials, facts, (released) => this.#forget(released));
      process.watchedBy((descriptor, exited) => this.#watch.add(descriptor, exited));
      // One that still passes for alive under this number has other ids, which the kernel could not tell us of.
      this.#byPid.get(pid)?.finish('changed');
      this.#byPid.set(pid, process);
      this.#lookLater();
      return { kind: 'identified', instance: process, release: process.hold() };
    } catch (error) {
      continuity?.close();
      return unidentified('unverifiable', `process ${pid} cannot be held: ${messageOf(error)}`);
    }
  }

  #forget(released: HeldProcess): void {
    if (this.#byPid.get(released.pid) === released) this.#byPid.delete(released.pid);
    // A round that is not gone on with would keep the last ones of it in memory.
    if (this.size === 0) this.#round = undefined;
  }

  #lookLater(): void {
    if (this.#closed || this.#alarm !== undefined) return;
    this.#alarm = this.#clock.after(LOOK_MS, () => {
      this.#alarm = undefined;
      this.#look();
      if (this.size > 0) this.#lookLater();
    });
  }

  #look(): void {
    for (let left = Math.ceil(this.size / LOOKS_A_ROUND); left > 0; left -= 1) {
      this.#round ??= this.#byPid.values();
      const next = this.#round.next();
      if (next.done === true) {
        this.#round = undefined;
        return;
      }
      next.value.alive();
    }
  }
}
