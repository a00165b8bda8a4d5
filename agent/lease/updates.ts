import { Latest } from '../kernel/latest.ts';
import type { PublishedLists } from '../revocation/publisher.ts';
import type { TrustBundle } from '../svid/trust-bundle.ts';
import type { WitSvid, X509Svid } from './svid.ts';

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

/** All that `FetchWITSVID` tells; at least one WIT-SVID. */
export interface WitUpdate {
  readonly svids: readonly Delivered<WitSvid>[];
}

/** The newest update of one kind, and none that says what the last has said. Ended, it begins anew for those who come later. */
export class Channel<U> {
  readonly #same: (told: U, update: U) => boolean;
  #latest = new Latest<U>();

  constructor(same: (told: U, update: U) => boolean) {
    this.#same = same;
  }

  /** Without a value as long as there is nothing to tell. */
  get latest(): Latest<U> {
    return this.#latest;
  }

  tell(update: U): void {
    const told = this.#latest.value;
    if (told === undefined || !this.#same(told, update)) this.#latest.set(update);
  }

  /** Ends those who follow, with a reason thrown that is only made for them. */
  end(reason: () => unknown): void {
    if (this.#latest.value === undefined) return;
    this.#latest.end(reason());
    this.#latest = new Latest();
  }
}

/** What the followers of one workload are told. */
export class Updates {
  readonly x509 = new Channel<X509Update>((told, update) => sameBundles(told, update) && sameSvids(told, update));
  readonly wit = new Channel<WitUpdate>(sameSvids);
  readonly bundles = new Channel<BundleUpdate>(sameBundles);

  /** Ends everybody who follows. */
  end(reason: unknown): void {
    for (const channel of [this.x509, this.wit, this.bundles]) channel.end(() => reason);
  }
}

function sameBundles(told: BundleUpdate, { own, federated }: BundleUpdate): boolean {
  return (
    told.own === own &&
    told.federated.length === federated.length &&
    federated.every((bundle, index) => told.federated[index] === bundle)
  );
}

interface SvidUpdate {
  readonly svids: readonly Delivered<unknown>[];
}

function sameSvids(told: SvidUpdate, { svids }: SvidUpdate): boolean {
  return (
    told.svids.length === svids.length &&
    svids.every(({ svid, hint }, index) => told.svids[index]?.svid === svid && told.svids[index]?.hint === hint)
  );
}
