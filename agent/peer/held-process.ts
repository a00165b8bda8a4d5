import { closeSync } from 'node:fs';
import { MayflyError } from '../kernel/errors.ts';
import type { Continuity } from './continuity.ts';
import type { PeerCredentials } from './credentials.ts';
import type { InstanceEnd, ProcessInstance } from './instance.ts';
import { hasExited } from './system/pidfd.ts';

/** What a {@link HeldProcess} is made of, beside the credentials whose pidfd becomes its own. */
export interface ProcessFacts {
  readonly key: string;
  readonly startTime: string;
  readonly bootId: string;
  readonly continuity: Continuity;
}

/** A process that is held by its pidfd until it ends, or until nobody holds it any more. */
export class HeldProcess implements ProcessInstance {
  readonly key: string;
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  readonly startTime: string;
  readonly bootId: string;
  readonly proof: PeerCredentials['proof'];
  readonly #pidfd: number;
  readonly #continuity: Continuity;
  readonly #released: (process: HeldProcess) => void;
  readonly #listeners = new Set<(reason: InstanceEnd) => void>();
  #holds = 0;
  #end: InstanceEnd | undefined;
  #state: 'new' | 'held' | 'released' = 'new';
  #unwatch: () => void = () => undefined;

  /** @param released called once, when the pidfd has been closed */
  constructor(credentials: PeerCredentials, facts: ProcessFacts, released: (process: HeldProcess) => void) {
    this.key = facts.key;
    this.pid = credentials.pid;
    this.uid = credentials.uid;
    this.gid = credentials.gid;
    this.proof = credentials.proof;
    this.startTime = facts.startTime;
    this.bootId = facts.bootId;
    this.#pidfd = credentials.pidfd;
    this.#continuity = facts.continuity;
    this.#released = released;
  }

  get end(): InstanceEnd | undefined {
    return this.#end;
  }

  /** False when an `execve` of this process goes unnoticed. */
  get noticesExec(): boolean {
    return this.#continuity.noticesExec;
  }

  /** Has the exit told by `watch`, which gets the pidfd and returns how to take it back. */
  watchedBy(watch: (pidfd: number, exited: () => void) => () => void): void {
    this.#unwatch = watch(this.#pidfd, () => this.finish('exited'));
  }

  alive(): boolean {
    if (this.#end !== undefined || this.#state === 'released') return false;
    // In this order: what was read of /proc was said of this process only if it lives afterwards.
    const standing = this.#continuity.standing();
    if (hasExited(this.#pidfd) || standing === 'gone') this.finish('exited');
    else if (standing === 'changed') this.finish('changed');
    return this.#end === undefined;
  }

  onEnd(run: (reason: InstanceEnd) => void): () => void {
    if (this.#end !== undefined) {
      run(this.#end);
      return () => undefined;
    }
    // One listener may be given twice, and is then told twice.
    const listener = (reason: InstanceEnd) => run(reason);
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  hold(): () => void {
    if (this.#end !== undefined) return () => undefined;
    if (this.#state === 'released') {
      throw new MayflyError('CALLER_UNKNOWN', `process ${this.pid} is no longer connected`);
    }
    this.#state = 'held';
    this.#holds += 1;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#holds -= 1;
      if (this.#holds === 0) this.release();
    };
  }

  /** Ends the instance, and tells everybody who asked to know. */
  finish(reason: InstanceEnd): void {
    if (this.#end !== undefined || this.#state === 'released') return;
    this.#end = reason;
    this.release();
    for (const listener of this.#listeners) {
      try {
        listener(reason);
      } catch (error) {
        // The others are told all the same; the defect is a crash afterwards.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
    this.#listeners.clear();
  }

  /** Lets go of the process: from now on nothing can be known of it. */
  release(): void {
    if (this.#state === 'released') return;
    this.#state = 'released';
    this.#unwatch();
    this.#continuity.close();
    closeSync(this.#pidfd);
    this.#released(this);
  }
}
