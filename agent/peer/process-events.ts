/** What those are told who follow {@link ProcessEvents}. */
export interface ProcessEventsFollower {
  /** A process has called `execve` or changed an id, whether anybody holds it or not. */
  readonly changed: (pid: number) => void;
  /** Events were lost: any process may have. */
  readonly lost: () => void;
}

/** What the kernel tells of processes that become something else, where its process connector answers. */
export class ProcessEvents {
  readonly #followers = new Set<ProcessEventsFollower>();
  #reason = 'the process connector has not answered yet';
  #losses = 0;

  /** Why nothing is told, as a clause; empty when changes are. */
  get reason(): string {
    return this.#reason;
  }

  /** How often events were lost. */
  get losses(): number {
    return this.#losses;
  }

  /** Tells `follower` from now on; returns how to stop that. */
  follow(follower: ProcessEventsFollower): () => void {
    this.#followers.add(follower);
    return () => void this.#followers.delete(follower);
  }

  /** Says from now on that changes are told, or why they are not. */
  settle(reason: string): void {
    // Before the subscription nobody was told, and between two there is a gap.
    if (reason === '' && this.#reason !== '') this.#lookAtAll();
    this.#reason = reason;
  }

  tell(pids: readonly number[], lost: boolean): void {
    if (lost) {
      this.#losses += 1;
      this.#lookAtAll();
      return;
    }
    for (const follower of this.#followers) for (const pid of pids) follower.changed(pid);
  }

  #lookAtAll(): void {
    for (const follower of this.#followers) follower.lost();
  }
}
