import { hash } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import { WITBundlesResponseSchema, WITSVIDSchema } from '../gen/workload_pb.js';
import { idOfTrustDomain } from '../kernel/spiffe-id.ts';
import type { BundleUpdate, WitUpdate } from '../lease/updates.ts';
import { witJwksOf } from '../svid/jwks.ts';
import type { TrustBundle } from '../svid/trust-bundle.ts';
import { keyedMessage } from './keyed-message.ts';
import { once } from './once.ts';
import type { SecretMessage } from './secret-message.ts';

/** The answer of `FetchWITSVID`. */
export function witMessage(update: WitUpdate): SecretMessage {
  const { identities } = publicPartOf(update);
  return keyedMessage(identities.map(({ open, privateKey }) => ({ open, key: privateKey.reveal() })));
}

/** What tells one set of WIT-SVIDs from another; no key is in it. */
export function witDigest(update: WitUpdate): Uint8Array {
  return publicPartOf(update).digest;
}

/** All of an update but the keys. */
const publicPartOf = once(({ svids }: WitUpdate) => {
  const identities = svids.map(({ svid: { privateKey, spiffeId, token }, hint }) => ({
    open: toBinary(WITSVIDSchema, create(WITSVIDSchema, { spiffeId, witSvid: token, hint })),
    privateKey,
  }));
  return { identities, digest: hash('sha256', Buffer.concat(identities.map(({ open }) => open)), 'buffer') };
});

/** The answer of `FetchWITBundles`. A trust domain that has no WIT-SVIDs is left out. */
export const witBundlesMessage = once(({ own, federated }: BundleUpdate) => {
  const usable = [own, ...federated].filter(({ witAuthorities }) => witAuthorities.length > 0);
  const bundles = Object.fromEntries(usable.map((bundle) => [idOfTrustDomain(bundle.trustDomain), jwksOf(bundle)]));
  return toBinary(WITBundlesResponseSchema, create(WITBundlesResponseSchema, { bundles }));
});

const jwksOf = once((bundle: TrustBundle) => witJwksOf(bundle));
