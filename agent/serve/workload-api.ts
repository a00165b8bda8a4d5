import type { DescMessage, MessageInitShape } from '@bufbuild/protobuf';
import { create, toBinary } from '@bufbuild/protobuf';
import type { SpiffeWorkloadAPI } from '../gen/workload_pb.js';
import { JWTBundlesResponseSchema, JWTSVIDResponseSchema } from '../gen/workload_pb.js';
import { parseAudience, parseAudiences } from '../kernel/audience.ts';
import { MayflyError } from '../kernel/errors.ts';
import { idOfTrustDomain } from '../kernel/spiffe-id.ts';
import type { Leases } from '../lease/leases.ts';
import type { JwtSvid } from '../lease/svid.ts';
import type { BundleUpdate, Delivered } from '../lease/updates.ts';
import type { Validation } from '../lease/validation.ts';
import { jwksOf } from '../svid/jwks.ts';
import type { TrustBundle } from '../svid/trust-bundle.ts';
import { changes } from './changes.ts';
import { claimsMessage } from './claims.ts';
import type { Handlers } from './handlers.ts';
import { once } from './once.ts';
import { noWitProfile, witProfile } from './wit-profile.ts';
import type { Identified } from './workload-call.ts';
import { requestedId, requireSecurityHeader, workloadOf } from './workload-call.ts';
import { identitiesDigest, x509BundlesMessage, x509BundlesOf, x509Message } from './x509-message.ts';

/** The SPIFFE Workload API: asks `lease/`, and translates. */
export function workloadApi(
  leases: Leases,
  validation: Validation,
  profiles: { readonly wit: boolean },
): Handlers<typeof SpiffeWorkloadAPI, Identified> {
  return {
    async *fetchX509SVID(_request, call) {
      const workload = workloadOf(leases, call);
      using subscriber = leases.deliveries.open(call.caller.instance, 'FetchX509SVID');
      const changed = changes();
      for await (const { update, lists } of workload.x509(call.signal)) {
        // A key that is gone belongs to an update which another has already overtaken, or to a stream about to end.
        if (update.svids.some(({ svid }) => svid.privateKey.destroyed)) continue;
        if (!changed(identitiesDigest(update), lists)) continue;
        yield x509Message(update, lists);
        const svids = update.svids.map(({ svid }) => svid);
        workload.delivered(svids);
        subscriber.tell({ svids: svids.map(({ serial }) => serial), lists: lists.number });
      }
    },

    async *fetchX509Bundles(_request, call) {
      const workload = workloadOf(leases, call);
      using subscriber = leases.deliveries.open(call.caller.instance, 'FetchX509Bundles');
      const changed = changes();
      for await (const [update, lists] of workload.listedBundles(call.signal, 'verifiers')) {
        if (!changed(x509BundlesOf(update), lists)) continue;
        yield x509BundlesMessage(update, lists);
        subscriber.tell({ svids: [], lists: lists.number });
      }
    },

    fetchJWTSVID(request, call) {
      requireSecurityHeader(call.metadata);
      const audiences = parseAudiences(request.audience);
      const spiffeId = requestedId(request.spiffeId);
      const workload = leases.of(call.caller.instance);
      const cached = workload.cachedJwt(audiences, spiffeId);
      return cached === undefined ? workload.jwt(audiences, spiffeId).then(jwtResponse) : jwtResponse(cached);
    },

    async *fetchJWTBundles(_request, call) {
      const workload = workloadOf(leases, call);
      using subscriber = leases.deliveries.open(call.caller.instance, 'FetchJWTBundles');
      const changed = changes();
      for await (const update of workload.bundles(call.signal)) {
        const message = jwtBundlesResponse(update);
        if (!changed(message)) continue;
        yield message;
        subscriber.tell({ svids: [], lists: 0 });
      }
    },

    async validateJWTSVID(request, call) {
      requireSecurityHeader(call.metadata);
      const audience = parseAudience(request.audience);
      if (request.svid === '') throw new MayflyError('SVID_MISSING', 'svid must be specified');
      const { id, claims } = await validation.validateJwt(call.caller.instance, request.svid, audience);
      return { spiffeId: id, claims: claimsMessage(claims) };
    },

    ...(profiles.wit ? witProfile(leases) : noWitProfile()),
  };
}

function encoded<M extends DescMessage>(schema: M, message: MessageInitShape<M>): Uint8Array {
  return toBinary(schema, create(schema, message));
}

const jwtBundlesResponse = once(({ own, federated }: BundleUpdate) => {
  const usable = [own, ...federated].filter((bundle) => bundle.jwtAuthorities.length > 0);
  return encoded(JWTBundlesResponseSchema, { bundles: byTrustDomain(usable, jwksBytesOf) });
});

const jwksBytesOf = once((bundle: TrustBundle): Uint8Array => Buffer.from(jwksOf(bundle)));
function byTrustDomain(bundles: readonly TrustBundle[], content: (bundle: TrustBundle) => Uint8Array) {
  return Object.fromEntries(bundles.map((bundle) => [idOfTrustDomain(bundle.trustDomain), content(bundle)]));
}

/** The encoding of the one token that most answers hold, for as long as the token is handed out. */
const encodedTokens = new WeakMap<JwtSvid, { hint: string; message: Uint8Array }>();

function jwtResponse(svids: readonly Delivered<JwtSvid>[]): Uint8Array {
  const [only] = svids;
  const known = only === undefined || svids.length > 1 ? undefined : encodedTokens.get(only.svid);
  if (known !== undefined && known.hint === only?.hint) return known.message;
  const message = encoded(JWTSVIDResponseSchema, {
    svids: svids.map(({ svid, hint }) => ({ spiffeId: svid.spiffeId, svid: svid.token, hint })),
  });
  if (only !== undefined && svids.length === 1) encodedTokens.set(only.svid, { hint: only.hint, message });
  return message;
}
