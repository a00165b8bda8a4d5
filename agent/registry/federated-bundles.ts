import type { ReloadState } from '../config/reloadable.ts';
import type { Clock } from '../kernel/clock.ts';
import { Latest } from '../kernel/latest.ts';
import type { Log } from '../kernel/log.ts';
import type { TrustDomain } from '../kernel/spiffe-id.ts';
import type { TrustBundle } from '../svid/trust-bundle.ts';
import { isEmptyBundle } from '../svid/trust-bundle.ts';
import { type BundleFile, FederatedBundle } from './federated-bundle.ts';

interface Member {
  readonly bundle: FederatedBundle;
  readonly stop: AbortController;
  readonly followed: Promise<void>;
}

/** The bundles of all foreign trust domains that are configured. A domain whose file is bad does not touch the others. */
export class FederatedBundles {
  /**
   * By trust domain, in order of their names; one that vouches for nothing is not in it, since clients reject a message with an
   * empty bundle as a whole. There is a value from the start.
   */
  readonly latest = new Latest<ReadonlyMap<TrustDomain, TrustBundle>>();
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #members = new Map<TrustDomain, Member>();
  #changing: Promise<void> = Promise.resolve();
  #closed = false;

  private constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Reads all files for the first time and watches them from then on. What is bad is told in {@link states} and waited for. */
  static async open(files: readonly BundleFile[], clock: Clock, log: Log): Promise<FederatedBundles> {
    const bundles = new FederatedBundles(clock, log);
    await bundles.configure(files);
    return bundles;
  }

  /** How each trust domain's file stands, by the name of the domain. */
  states(): readonly (BundleFile & { readonly state: ReloadState })[] {
    return this.#sorted().map(({ bundle }) => ({ ...bundle.from, state: bundle.state() }));
  }

  /** Reads all files again. Never throws; false when one is bad. */
  async reload(): Promise<boolean> {
    const read = await Promise.all([...this.#members.values()].map(({ bundle }) => bundle.reload()));
    this.#publish();
    return read.every(Boolean);
  }

  /** Takes over a changed configuration: domains that are not in `files` any more are withdrawn, all changes as one value. */
  configure(files: readonly BundleFile[]): Promise<void> {
    const change = this.#changing.then(() => this.#change(files));
    this.#changing = change.catch(() => undefined);
    return change;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#changing;
    await Promise.all([...this.#members.values()].map(leave));
  }

  async #change(files: readonly BundleFile[]): Promise<void> {
    if (this.#closed) return;
    const wanted = new Map(files.map((each) => [each.trustDomain, each]));
    const gone = [...this.#members].filter(([domain, { bundle }]) => wanted.get(domain)?.file !== bundle.from.file);
    const kept = new Set([...this.#members.keys()].filter((domain) => !gone.some(([each]) => each === domain)));
    const added = await Promise.all(
      [...wanted.values()]
        .filter(({ trustDomain }) => !kept.has(trustDomain))
        .map((from) => FederatedBundle.open(from, this.#clock, this.#log)),
    );
    for (const [domain] of gone) this.#members.delete(domain);
    for (const bundle of added) this.#members.set(bundle.from.trustDomain, this.#join(bundle));
    this.#publish();
    await Promise.all(gone.map(([, member]) => leave(member)));
  }

  #join(bundle: FederatedBundle): Member {
    const stop = new AbortController();
    const follow = async (): Promise<void> => {
      for await (const _ of bundle.latest.follow(stop.signal)) this.#publish();
    };
    return { bundle, stop, followed: follow() };
  }

  #publish(): void {
    const before = this.latest.value;
    const bundles = new Map<TrustDomain, TrustBundle>();
    for (const { bundle } of this.#sorted()) {
      // A domain whose file has moved keeps what the old file said until the new one is good.
      const value = bundle.latest.value ?? before?.get(bundle.from.trustDomain);
      if (value === undefined || isEmptyBundle(value)) continue;
      bundles.set(value.trustDomain, value);
    }
    if (before === undefined || !equal(before, bundles)) this.latest.set(bundles);
  }

  #sorted(): readonly Member[] {
    return [...this.#members.values()].toSorted((a, b) =>
      a.bundle.from.trustDomain < b.bundle.from.trustDomain ? -1 : 1,
    );
  }
}

async function leave({ bundle, stop, followed }: Member): Promise<void> {
  stop.abort();
  await followed;
  await bundle.close();
}

/** A bundle that did not change is the same object: its file is only swapped in when it says something else. */
function equal(a: ReadonlyMap<TrustDomain, TrustBundle>, b: ReadonlyMap<TrustDomain, TrustBundle>): boolean {
  return a.size === b.size && [...b].every(([domain, bundle]) => a.get(domain) === bundle);
}
