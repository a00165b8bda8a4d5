import { Reloadable, type ReloadState } from '../config/reloadable.ts';
import { readTextFile } from '../config/text-file.ts';
import { type Watcher, watchPaths } from '../config/watch.ts';
import type { Clock } from '../kernel/clock.ts';
import { MayflyError, messageOf } from '../kernel/errors.ts';
import type { Latest } from '../kernel/latest.ts';
import type { Log, LogFields } from '../kernel/log.ts';
import type { TrustDomain } from '../kernel/spiffe-id.ts';
import { formatBundle, parseBundle } from '../svid/bundle-json.ts';
import type { TrustBundle } from '../svid/trust-bundle.ts';
import { isEmptyBundle } from '../svid/trust-bundle.ts';

/** Where the bundle of another trust domain is found. */
export interface BundleFile {
  readonly trustDomain: TrustDomain;
  /** An absolute path, of a file in SPIFFE bundle format. */
  readonly file: string;
}

// With some hundred roots, which no trust domain has, it is one.
const MAX_FILE_BYTES = 1024 ** 2;

/**
 * The bundle of one foreign trust domain, from its file, read again when that changes. A file that is bad, or missing, leaves the
 * last good bundle in force: an unmounted volume must not cut off a trust domain. One that is older than what is in force is bad. To
 * withdraw trust, write an empty list of keys or take the domain out of the configuration.
 */
export class FederatedBundle {
  readonly from: BundleFile;
  readonly #bundle: Reloadable<TrustBundle>;
  readonly #watcher: Watcher;

  private constructor(from: BundleFile, clock: Clock, log: Log) {
    this.from = from;
    this.#bundle = new Reloadable<TrustBundle>({
      name: 'federated_bundle',
      load: async (current) => notOlder(await readBundle(from), current, from),
      digest: formatBundle,
      clock,
      log: logOf(log, from.trustDomain),
    });
    this.#watcher = watchPaths([from.file], { clock, log }, () => void this.#bundle.reload());
  }

  /** Reads the file for the first time; one that is bad or missing is told in {@link state} and waited for. */
  static async open(from: BundleFile, clock: Clock, log: Log): Promise<FederatedBundle> {
    const bundle = new FederatedBundle(from, clock, log);
    await bundle.#watcher.ready;
    await bundle.reload();
    return bundle;
  }

  /** Without a value until the file was good once. */
  get latest(): Latest<TrustBundle> {
    return this.#bundle.latest;
  }

  state(): ReloadState {
    return this.#bundle.state();
  }

  /** Reads the file again. Never throws; false when it is bad. */
  reload(): Promise<boolean> {
    return this.#bundle.reload();
  }

  async close(): Promise<void> {
    await this.#watcher.close();
    await this.#bundle.close();
  }
}

/**
 * Reads a file in SPIFFE bundle format.
 *
 * @throws MayflyError `INVALID_CONFIG` when it cannot be read, `INVALID_BUNDLE` when it holds no bundle
 */
export async function readBundle({ trustDomain, file }: BundleFile): Promise<TrustBundle> {
  const text = await readTextFile(file, MAX_FILE_BYTES);
  try {
    return parseBundle(trustDomain, text);
  } catch (error) {
    throw new MayflyError('INVALID_BUNDLE', `${file}: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * Sequences only ever grow (SPIFFE Trust Domain and Bundle §4.1.1): with a lower one, a key that was taken back since would be trusted
 * again. One of 0, or none, tells nothing of its age. The same one with other keys is taken: somebody may have taken a key out by hand.
 * So is an empty list of keys with whatever sequence: who withdraws trust is never kept from it.
 *
 * @throws MayflyError `INVALID_BUNDLE`
 */
function notOlder(next: TrustBundle, current: TrustBundle | undefined, { file, trustDomain }: BundleFile): TrustBundle {
  if (current === undefined || isEmptyBundle(next) || next.sequence === 0 || next.sequence >= current.sequence)
    return next;
  throw new MayflyError(
    'INVALID_BUNDLE',
    `${file}: the bundle of ${trustDomain} has spiffe_sequence ${next.sequence}, and ${current.sequence} is in force: it is older; if the trust domain has begun anew, write {"keys": []} first`,
  );
}

/** A log whose every line names the trust domain. */
function logOf(log: Log, trustDomain: TrustDomain): Log {
  const about = (fields?: LogFields): LogFields => ({ ...fields, trust_domain: trustDomain });
  return {
    debug: (event, message, fields) => log.debug(event, message, about(fields)),
    info: (event, message, fields) => log.info(event, message, about(fields)),
    warn: (event, message, fields) => log.warn(event, message, about(fields)),
    error: (event, message, fields) => log.error(event, message, { ...fields, trust_domain: trustDomain }),
  };
}
