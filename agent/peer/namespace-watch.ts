import { closeSync } from 'node:fs';
import type { Clock } from '../kernel/clock.ts';
import { differ, type Namespaces, readNamespaces } from './system/namespaces.ts';
import { openText, readAgain } from './system/proc.ts';

// Longer than the kernel goes without counting the time of a thread that runs: a tick, or a second where there is none (nohz_full).
const UNCOUNTED_MS = 1100;
// What a kernel says that counts nothing.
const NOTHING_COUNTED = '0 0 0';

/**
 * Whether a process is still in the namespaces that it was in. It alone can leave them, by `unshare(2)` or `setns(2)`, and for that
 * it has to run: while `/proc/<pid>/schedstat`, a descriptor that is held and takes no right to read, says that it has not, nothing
 * is looked at.
 *
 * Why that may be believed: the text counts how often the thread was put on a processor, at the moment when that happens, and for
 * how long it has run, at each tick. A thread of which the same text was read for longer than {@link UNCOUNTED_MS} was therefore on
 * no processor at the end of that time, and will be on none before the text changes. So namespaces that were looked at after such a
 * time are those of any later moment with the same text; before that they are looked at, whatever the text says.
 *
 * It is the first thread that is looked at, whose namespaces the kernel shows as the process'. Another thread that leaves them takes
 * nobody along.
 */
export class NamespaceWatch {
  /** Those it was in at first; `undefined` where the agent may not look. */
  readonly first: Namespaces | undefined;
  readonly #pid: number;
  readonly #clock: Clock;
  #schedstat: number | undefined;
  #text: string | undefined;
  #textSince: number;
  #lookedAt: number;
  #mayLook: boolean;

  /** @throws Error with `code` when the agent is out of descriptors or memory */
  constructor(pid: number, clock: Clock) {
    this.#pid = pid;
    this.#clock = clock;
    this.#textSince = this.#lookedAt = clock.monotonic();
    this.first = readNamespaces(pid);
    this.#mayLook = this.first !== undefined;
    // Read for the first time with the first look after this one.
    if (this.#mayLook) this.#schedstat = openText(`/proc/${pid}/schedstat`);
  }

  /** False when a change goes unnoticed. */
  get notices(): boolean {
    return this.#mayLook;
  }

  /** Whether it has left one. */
  changed(): boolean {
    if (this.first === undefined) return false;
    const now = this.#clock.monotonic();
    if (this.#rests(now)) return false;
    this.#lookedAt = now;
    const namespaces = readNamespaces(this.#pid);
    // The process has closed itself to an agent without rights, or is over: its pidfd tells.
    this.#mayLook = namespaces !== undefined;
    return namespaces !== undefined && differ(this.first, namespaces);
  }

  close(): void {
    if (this.#schedstat !== undefined) closeSync(this.#schedstat);
    this.#schedstat = undefined;
  }

  /** Whether it has not run since a look that came long enough after the text that still stands. */
  #rests(now: number): boolean {
    const text = this.#schedstat === undefined ? undefined : readAgain(this.#schedstat);
    if (text === undefined || text.startsWith(NOTHING_COUNTED)) return false;
    if (text === this.#text) return this.#lookedAt - this.#textSince > UNCOUNTED_MS;
    this.#text = text;
    this.#textSince = now;
    return false;
  }
}
