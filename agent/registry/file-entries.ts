import { vocabularyOf } from '../attest/vocabularies.ts';
import type { Vocabulary } from '../attest/vocabulary.ts';
import type { Config } from '../config/config.ts';
import { Reloadable, type ReloadState } from '../config/reloadable.ts';
import { type Watcher, watchPaths } from '../config/watch.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Latest } from '../kernel/latest.ts';
import type { Log } from '../kernel/log.ts';
import type { TrustDomain } from '../kernel/spiffe-id.ts';
import { EntryFiles } from './entry-files.ts';
import type { EntryRules } from './entry-rules.ts';
import type { EntrySet } from './entry-set.ts';
import type { EntrySource } from './entry-source.ts';
import { entryWarnings } from './entry-warnings.ts';

/** What the configuration says of entry files. */
export interface EntryFilesConfig {
  /** Absolute paths and globs. */
  readonly patterns: readonly string[];
  readonly trustDomain: TrustDomain;
  readonly requireOwner: boolean;
  readonly vocabulary: Vocabulary;
  /** The trust domains whose bundles are configured. */
  readonly federated: ReadonlySet<TrustDomain>;
}

/** The part of a configuration that is about entries. */
export function entryFilesOf({ attestors, bundles, entries, policy, trustDomain }: Config): EntryFilesConfig {
  return {
    patterns: entries,
    trustDomain,
    requireOwner: policy.requireOwner,
    vocabulary: vocabularyOf(attestors),
    federated: new Set(bundles.map((bundle) => bundle.trustDomain)),
  };
}

/** What entries must agree with, from the configuration. */
export function rulesOf({ trustDomain, requireOwner, vocabulary }: EntryFilesConfig): EntryRules {
  return { trustDomain, requireOwner, vocabulary };
}

/** Entries from files, read again when they change: all of them or, when one is bad, none. */
export class FileEntries implements EntrySource {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #files = new EntryFiles();
  readonly #entries: Reloadable<EntrySet>;
  #config: EntryFilesConfig;
  #watcher: Watcher;

  private constructor(config: EntryFilesConfig, clock: Clock, log: Log) {
    this.#config = config;
    this.#clock = clock;
    this.#log = log;
    this.#entries = new Reloadable<EntrySet>({
      name: 'entries',
      load: () => this.#files.read(this.#config.patterns, rulesOf(this.#config)),
      digest: ({ digest }) => digest,
      clock,
      log,
    });
    this.#watcher = this.#watch();
  }

  /**
   * Reads the files for the first time and watches them from then on.
   *
   * @throws InvalidConfig there is no last good state yet
   */
  static async open(config: EntryFilesConfig, clock: Clock, log: Log): Promise<FileEntries> {
    const source = new FileEntries(config, clock, log);
    try {
      // Watched first: a change while they are read would go unnoticed otherwise.
      await source.#watcher.ready;
      await source.#entries.start();
      return source;
    } catch (error) {
      await source.close();
      throw error;
    }
  }

  get latest(): Latest<EntrySet> {
    return this.#entries.latest;
  }

  state(): ReloadState {
    return this.#entries.state();
  }

  warnings(): readonly string[] {
    const surroundings = { ...this.#config, now: this.#clock.now() };
    return entryWarnings(this.latest.value?.entries ?? [], surroundings);
  }

  reload(): Promise<boolean> {
    return this.#entries.reload();
  }

  /**
   * Takes over a changed configuration, and what its files say. When they are bad the entries in force stay, and the new files are
   * the ones that are watched and waited for; to refuse instead, read them with {@link EntryFiles} before.
   *
   * @returns false when the files could not be loaded
   */
  async configure(config: EntryFilesConfig): Promise<boolean> {
    const before = this.#watcher;
    this.#config = config;
    this.#watcher = this.#watch();
    await before.close();
    await this.#watcher.ready;
    return this.reload();
  }

  async close(): Promise<void> {
    await this.#watcher.close();
    await this.#entries.close();
  }

  #watch(): Watcher {
    const options = { clock: this.#clock, log: this.#log };
    return watchPaths(this.#config.patterns, options, () => void this.#entries.reload());
  }
}
