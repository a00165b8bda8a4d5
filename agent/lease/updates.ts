import { Latest } from '../kernel/latest.ts';
import type { PublishedLists } from '../revocation/publisher.ts';
import type { TrustBundle } from '../svid/trust-bundle.ts';
import type { X509Svid } from './svid.ts';

/** One SVID as a call delivers it: the hint is the entry's newest. */
export interface Delivered<S> {
  readonly svid: S;
  readonly hint: string;
}

/** The bundles that a workload may verify others with. */
export interface BundleUpdate {
  readonly own: TrustBundle;
  /** Those that its entries federate with and that are known, by trust domain. */
  readonly federated: readonly TrustBundle[];
}

/** An {@link X509Update} with the revocation lists that belong to it. */
export interface ListedX509 {
  readonly update: X509Update;
  readonly lists: PublishedLists;
}

/** All that `FetchX509SVID` tells beside the lists; at least one certificate. */
export interface X509Update extends BundleUpdate {
  readonly svids: readonly Delivered<X509Svid>[];
}

/**
 * What the followers of one workload are told: the newest update of each kind, and none that says what the last has said. Ended,
 * it begins anew for those who come later.
 */
export class Updates {
  #x509 = new Latest<X509Update>();
  #bundles = new Latest<BundleUpdate>();

  /** The certificates; without a value as long as there are none. */
  get x509(): Latest<X509Update> {
    return this.#x509;
  }

  get bundles(): Latest<BundleUpdate> {
    return this.#bundles;
  }

  tellX509(update: X509Update): void {
    const told = this.#x509.value;
    if (!sameBundles(told, update) || !sameSvids(told?.svids, update.svids)) this.#x509.set(update);
  }

  tellBundles(update: BundleUpdate): void {
    if (!sameBundles(this.#bundles.value, update)) this.#bundles.set(update);
  }

  /** Ends those who follow the certificates, with `reason` thrown. */
  endX509(reason: unknown): void {
    if (this.#x509.value === undefined) return;
    this.#x509.end(reason);
    this.#x509 = new Latest();
  }

  /** Ends everybody who follows. */
  end(reason: unknown): void {
    this.endX509(reason);
    this.#bundles.end(reason);
    this.#bundles = new Latest();
  }
}

function sameBundles(told: BundleUpdate | undefined, { own, federated }: BundleUpdate): boolean {
  return (
    told?.own === own &&
    told.federated.length === federated.length &&
    federated.every((bundle, index) => told.federated[index] === bundle)
  );
}

function sameSvids(told: readonly Delivered<X509Svid>[] | undefined, svids: readonly Delivered<X509Svid>[]): boolean {
  return (
    told?.length === svids.length &&
    svids.every(({ svid, hint }, index) => told[index]?.svid === svid && told[index].hint === hint)
  );
}
