import { closeSync } from 'node:fs';
import { cgroupIn, hasOldHierarchies, isMoved } from './system/cgroups.ts';
import { firstThreadIsOver, openText, readAgain } from './system/proc.ts';

/**
 * Whether a process is still in the cgroup that it was in. Others move it, at any time, so it is always asked: for the number that
 * the kernel tells with the ids, and, where it tells none or old hierarchies are what counts, for the text of `/proc/<pid>/cgroup`.
 */
export class CgroupWatch {
  readonly #pid: number;
  readonly #id: number | undefined;
  #file: number | undefined;
  #text: string | undefined;

  /**
   * @param id the number of its cgroup in the unified hierarchy, where the kernel tells
   * @throws Error with `code` when the agent is out of descriptors or memory
   */
  constructor(pid: number, id: number | undefined) {
    this.#pid = pid;
    this.#id = id;
    if (id !== undefined && !hasOldHierarchies()) return;
    this.#file = openText(`/proc/${pid}/cgroup`);
    if (this.#file === undefined) return;
    this.#text = readAgain(this.#file);
    // It is the unified hierarchy that counts here, and its number is cheaper.
    if (id !== undefined && this.#text !== undefined && cgroupIn(this.#text)?.startsWith('/') === true) this.close();
  }

  /** By the number, which costs nothing: `id` is what the kernel tells now. */
  changed(id: number | undefined): boolean {
    return id !== undefined && this.#id !== undefined && id !== this.#id && this.#moved();
  }

  /** By the text, where there is reason to read it. */
  changedInText(): boolean {
    if (this.#file === undefined) return false;
    const text = readAgain(this.#file);
    if (text === undefined || text === this.#text) return false;
    const moved = isMoved(this.#text ?? text, text);
    this.#text = text;
    return moved && this.#moved();
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  /** A thread that is over leaves its cgroup without having been moved. */
  #moved(): boolean {
    return !firstThreadIsOver(this.#pid);
  }
}
