import { MayflyError } from '../kernel/errors.ts';
import type { Latest } from '../kernel/latest.ts';
import type { TrustDomain } from '../kernel/spiffe-id.ts';
import type { Entry } from '../registry/entry.ts';
import type { TrustBundle } from '../svid/trust-bundle.ts';
import type { BundleUpdate } from './updates.ts';

type Federated = ReadonlyMap<TrustDomain, TrustBundle>;

/**
 * The bundles that workloads may verify others with. Workloads whose entries federate with the same trust domains share one object,
 * so that what thousands of streams are sent is encoded once.
 */
export class BundleViews {
  readonly #own: Latest<TrustBundle>;
  readonly #federated: Latest<Federated>;
  readonly #views = new Map<string, BundleUpdate>();
  #of: { readonly own: TrustBundle; readonly federated: Federated | undefined } | undefined;

  constructor(own: Latest<TrustBundle>, federated: Latest<Federated>) {
    this.#own = own;
    this.#federated = federated;
  }

  /** @throws MayflyError `AUTHORITY_UNAVAILABLE` while there is no bundle of the own trust domain */
  of(entries: readonly Entry[]): BundleUpdate {
    const own = this.#own.value;
    const federated = this.#federated.value;
    if (own === undefined) throw new MayflyError('AUTHORITY_UNAVAILABLE', 'the authority has no bundle yet');
    if (this.#of?.own !== own || this.#of.federated !== federated) {
      this.#of = { own, federated };
      this.#views.clear();
    }
    const domains = [...new Set(entries.flatMap((entry) => entry.federatesWith))].toSorted();
    const key = domains.join(' ');
    let view = this.#views.get(key);
    if (view === undefined) {
      const known = domains.map((domain) => federated?.get(domain)).filter((bundle) => bundle !== undefined);
      view = { own, federated: known };
      this.#views.set(key, view);
    }
    return view;
  }
}
