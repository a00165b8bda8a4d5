import { closeSync } from 'node:fs';
import { MayflyError } from '../kernel/errors.ts';
import type { Continuity, Depth, Standing } from './continuity.ts';
import type { PeerCredentials } from './credentials.ts';
import { NO_FACTS, readFacts } from './facts.ts';
import type { InstanceEnd, InstanceFacts, ProcessInstance } from './instance.ts';
import { hasExited } from './system/pidfd.ts';

/** What a {@link HeldProcess} is made of, beside the credentials whose pidfd becomes its own. */
export interface HeldParts {
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
  #facts: InstanceFacts | undefined;
  #holds = 0;
  #end: InstanceEnd | undefined;
  #state: 'new' | 'held' | 'released' = 'new';
  #unwatch: () => void = () => undefined;

  /** @param released called once, when the pidfd has been closed */
  constructor(credentials: PeerCredentials, parts: HeldParts, released: (process: HeldProcess) => void) {
    this.key = parts.key;
    this.pid = credentials.pid;
    this.uid = credentials.uid;
    this.gid = credentials.gid;
    this.proof = credentials.proof;
    this.startTime = parts.startTime;
    this.bootId = parts.bootId;
    this.#pidfd = credentials.pidfd;
    this.#continuity = parts.continuity;
    this.#released = released;
  }

  get end(): InstanceEnd | undefined {
    return this.#end;
  }

  /** False when an `execve` of this process goes unnoticed. */
  get noticesExec(): boolean {
    return this.#continuity.noticesExec;
  }

  /** False when another namespace goes unnoticed. */
  get noticesNamespaces(): boolean {
    return this.#continuity.noticesNamespaces;
  }

  facts(): InstanceFacts {
    if (this.#facts !== undefined) return this.#facts;
    if (this.#state === 'released') return NO_FACTS;
    this.#facts = readFacts(this.pid, this.#pidfd, this.#continuity.namespaces);
    return this.#facts;
  }

  /** Has the exit told by `watch`, which gets the pidfd and returns how to take it back. */
  watchedBy(watch: (pidfd: number, exited: () => void) => () => void): void {
    this.#unwatch = watch(this.#pidfd, () => this.finish('exited'));
  }

  alive(depth: 'full' | 'whole' = 'full'): boolean {
    if (this.#end !== undefined || this.#state === 'released') return false;
    this.#judge(this.#continuity.standing(depth));
    return this.#end === undefined;
  }

  /** {@link alive} for those who are told of exits: looks only for what else can end an instance. */
  look(depth: Depth): void {
    if (this.#state === 'released') return;
    const standing = this.#continuity.standing(depth);
    if (standing !== 'same') this.#judge(standing);
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

  /** What was read of `/proc` was said of this process only if it lives afterwards, so its pidfd is asked last. */
  #judge(standing: Standing): void {
    if (hasExited(this.#pidfd) || standing === 'gone') this.finish('exited');
    else if (standing !== 'same') this.finish(standing);
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
