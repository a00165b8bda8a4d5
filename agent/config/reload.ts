import type { Clock } from '../kernel/clock.ts';
import type { Log } from '../kernel/log.ts';
import type { Config } from './config.ts';
import { type ConfigSources, loadConfig } from './load.ts';
import { Reloadable } from './reloadable.ts';
import { type Watcher, type WatchOptions, watchPaths } from './watch.ts';

/**
 * The configuration as a value that reloads, all or nothing. A file that is wrong, or that changes what only a restart can change,
 * leaves the configuration in use and stands in `state().lastError`.
 */
export function reloadableConfig(
  sources: ConfigSources,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): Reloadable<Config> {
  return new Reloadable({
    name: 'config',
    load: (running) => loadConfig(sources, running),
    digest: ({ digest }) => digest,
    clock,
    log,
  });
}

/**
 * Reloads `reloadable` whenever something changes on the ways that `patterns` lead, and once when the watch has begun: what was
 * loaded before may be older than that. `ready` resolves after that one.
 *
 * @param patterns absolute paths and globs
 */
export function reloadOnChange(
  reloadable: { reload(): Promise<boolean> },
  patterns: readonly string[],
  options: WatchOptions,
): Watcher {
  let closed = false;
  const watcher = watchPaths(patterns, options, () => void reloadable.reload());
  const begun = async (): Promise<void> => {
    await watcher.ready;
    if (!closed) await reloadable.reload();
  };
  return {
    ready: begun(),
    close: () => {
      closed = true;
      return watcher.close();
    },
  };
}
