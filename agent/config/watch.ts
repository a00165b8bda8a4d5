import { type FSWatcher, watch } from 'node:fs';
import type { Alarm, Clock } from '../kernel/clock.ts';
import { messageOf, systemCodeOf } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import { type Survey, survey } from './glob.ts';

export interface WatchOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** How long it must be quiet before a burst of events is told as one, in milliseconds; 40 unless said. */
  readonly settle?: number;
}

/** A running watch. It keeps the process alive until it is closed. */
export interface Watcher {
  /** Resolves when every change from now on will be noticed: what was read before may be older than that. */
  readonly ready: Promise<void>;
  /** Resolves when nothing is watched and `onChange` will not be called any more. */
  close(): Promise<void>;
}

/**
 * Watches files: edits, replacement by rename, swaps of a symbolic link anywhere on the way (Kubernetes ConfigMaps), deletion, and
 * directories that appear later. `onChange` is told that something may have changed, not what: spurious calls are part of the
 * contract, and the caller compares contents. Where the system refuses to watch, that is logged as `watch.failed`.
 *
 * @param patterns absolute paths and globs, as `expandGlobs` reads them
 */
export function watchPaths(patterns: readonly string[], options: WatchOptions, onChange: () => void): Watcher {
  return new PathWatcher(patterns, options, onChange);
}

const SETTLE_MS = 40;
// What never falls quiet is told all the same, once in so many settling times.
const LONGEST_BURST = 10;
// A tree that changes faster than it can be watched is looked at again at the next event.
const MOST_ROUNDS = 5;

/**
 * Watches directories, never files or links: each one on the way to a file, by its real path, for the names on that way. So a
 * name that is renamed over, swapped or not there yet is an event in a directory that is; after each event the ways are walked
 * again, and where they lead through other directories the watch is replaced.
 */
class PathWatcher implements Watcher {
  readonly ready: Promise<void>;
  readonly #patterns: readonly string[];
  readonly #options: WatchOptions;
  readonly #onChange: () => void;
  readonly #complaints = new Set<string>();
  #directories: Survey['directories'] = new Map();
  #watchers: readonly FSWatcher[] | undefined;
  #quiet: Alarm | undefined;
  #burstSince: number | undefined;
  /** The rounds of watching again run one at a time, in this chain. */
  #work: Promise<void>;
  #closed: Promise<void> | undefined;

  constructor(patterns: readonly string[], options: WatchOptions, onChange: () => void) {
    this.#patterns = patterns;
    this.#options = options;
    this.#onChange = onChange;
    this.ready = this.#follow();
    this.#work = this.ready;
  }

  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    this.#quiet?.cancel();
    await this.#work;
    this.#watchers?.forEach((watcher) => watcher.close());
  }

  /** Walks the ways and watches what they lead through, until both agree. */
  async #follow(): Promise<void> {
    for (let round = 0; round < MOST_ROUNDS && this.#closed === undefined; round += 1) {
      // Whoever loads the files says of a directory that it cannot be read; here it is only not watched.
      const { directories } = await survey(this.#patterns, () => {});
      if (this.#watchers !== undefined && sameDirectories(this.#directories, directories)) {
        this.#directories = directories;
        return;
      }
      const before = this.#watchers;
      this.#directories = directories;
      this.#watchers = [...directories.keys()].flatMap((directory) => this.#watch(directory) ?? []);
      before?.forEach((watcher) => watcher.close());
    }
  }

  #watch(directory: string): FSWatcher | undefined {
    try {
      const watcher = watch(directory, (_event, name) => {
        if (name === null || this.#directories.get(directory)?.concerns(name) === true) this.#stir();
      });
      return watcher.on('error', (error) => this.#complain(error));
    } catch (error) {
      // It has gone since it was seen, which is a change of the one above it.
      if (systemCodeOf(error) !== 'ENOENT' && systemCodeOf(error) !== 'ENOTDIR') this.#complain(error);
      return undefined;
    }
  }

  #stir(): void {
    if (this.#closed !== undefined) return;
    const { clock, settle = SETTLE_MS } = this.#options;
    this.#burstSince ??= clock.monotonic();
    if (clock.monotonic() - this.#burstSince > LONGEST_BURST * settle) return;
    this.#quiet?.cancel();
    this.#quiet = clock.after(settle, () => {
      this.#burstSince = undefined;
      this.#work = this.#work.then(() => this.#tell());
    });
  }

  async #tell(): Promise<void> {
    await this.#follow();
    if (this.#closed === undefined) this.#onChange();
  }

  #complain(error: unknown): void {
    const message = messageOf(error);
    if (this.#complaints.has(message)) return;
    this.#complaints.add(message);
    this.#options.log.warn('watch.failed', `changes of files may go unnoticed, SIGHUP reloads them: ${message}`, {
      patterns: this.#patterns,
    });
  }
}

function sameDirectories(one: Survey['directories'], other: Survey['directories']): boolean {
  if (one.size !== other.size) return false;
  return [...one].every(([path, { identity }]) => other.get(path)?.identity === identity);
}
