import { hash } from 'node:crypto';
import type { DescMessage, MessageInitShape } from '@bufbuild/protobuf';
import { create, toBinary } from '@bufbuild/protobuf';
import { X509BundlesResponseSchema, X509SVIDResponseSchema, X509SVIDSchema } from '../gen/workload_pb.js';
import { idOfTrustDomain } from '../kernel/spiffe-id.ts';
import type { X509Svid } from '../lease/svid.ts';
import type { BundleUpdate, Delivered, X509Update } from '../lease/updates.ts';
import type { PublishedLists } from '../revocation/publisher.ts';
import type { TrustBundle } from '../svid/trust-bundle.ts';
import { keyedMessage } from './keyed-message.ts';
import { once } from './once.ts';
import type { SecretMessage } from './secret-message.ts';

/** The answer of `FetchX509SVID`. The lists are encoded once for all streams. */
export function x509Message(update: X509Update, lists: PublishedLists): SecretMessage {
  const { identities, federated } = publicPartOf(update);
  return keyedMessage(
    identities.map(({ open, privateKey }) => ({ open, key: privateKey.reveal() })),
    federated,
    encodedSvidLists(lists),
  );
}

/** What tells one set of identities from another; no key is in it. */
export function identitiesDigest(update: X509Update): Uint8Array {
  return publicPartOf(update).digest;
}

/** All of an update but the keys. */
const publicPartOf = once((update: X509Update) => {
  const identities = update.svids.map(({ svid, hint }) => ({
    open: encodedSvid(svid, hint, update.own),
    privateKey: svid.privateKey,
  }));
  const federated = encoded(X509SVIDResponseSchema, { federatedBundles: x509Bundles(update.federated) });
  const open = Buffer.concat([...identities.map((identity) => identity.open), federated]);
  return { identities, federated, digest: hash('sha256', open, 'buffer') };
});

/** The bundles of `FetchX509Bundles`, without the lists. */
export const x509BundlesOf = once(({ own, federated }: BundleUpdate) =>
  encoded(X509BundlesResponseSchema, { bundles: x509Bundles([own, ...federated]) }),
);

/** The answer of `FetchX509Bundles`: encoded once for all streams that are told the same, which at a revocation are nearly all. */
export function x509BundlesMessage(update: BundleUpdate, lists: PublishedLists): Uint8Array {
  const known = messagesWith(lists);
  let message = known.get(update);
  if (message === undefined) {
    message = Buffer.concat([x509BundlesOf(update), encodedBundleLists(lists)]);
    known.set(update, message);
  }
  return message;
}

const messagesWith = once((_lists: PublishedLists) => new WeakMap<BundleUpdate, Uint8Array>());
const encodedSvidLists = once(({ crls }: PublishedLists) => encoded(X509SVIDResponseSchema, { crl: [...crls] }));
const encodedBundleLists = once(({ crls }: PublishedLists) => encoded(X509BundlesResponseSchema, { crl: [...crls] }));
const x509BundleOf = once((bundle: TrustBundle): Uint8Array => Buffer.concat(bundle.x509Authorities));

/** One identity without its key. */
function encodedSvid({ chain, spiffeId }: X509Svid, hint: Delivered<X509Svid>['hint'], own: TrustBundle): Uint8Array {
  return encoded(X509SVIDSchema, { spiffeId, x509Svid: Buffer.concat(chain), bundle: x509BundleOf(own), hint });
}

/** By SPIFFE ID. An empty bundle is left out: java-spiffe and py-spiffe reject the whole message for one. */
function x509Bundles(bundles: readonly TrustBundle[]): Record<string, Uint8Array> {
  const usable = bundles.filter((bundle) => bundle.x509Authorities.length > 0);
  return Object.fromEntries(usable.map((bundle) => [idOfTrustDomain(bundle.trustDomain), x509BundleOf(bundle)]));
}

function encoded<M extends DescMessage>(schema: M, message: MessageInitShape<M>): Uint8Array {
  return toBinary(schema, create(schema, message));
}
