import type { DescMessage, JsonObject, MessageInitShape } from '@bufbuild/protobuf';
import { create, toBinary } from '@bufbuild/protobuf';
import type { Metadata } from '@grpc/grpc-js';
import type { SpiffeWorkloadAPI } from '../gen/workload_pb.js';
import { JWTBundlesResponseSchema, JWTSVIDResponseSchema } from '../gen/workload_pb.js';
import { parseAudience, parseAudiences } from '../kernel/audience.ts';
import { MayflyError, messageOf } from '../kernel/errors.ts';
import type { SpiffeId } from '../kernel/spiffe-id.ts';
import { idOfTrustDomain, parseSpiffeId } from '../kernel/spiffe-id.ts';
import type { Leases } from '../lease/leases.ts';
import type { JwtSvid } from '../lease/svid.ts';
import type { BundleUpdate, Delivered } from '../lease/updates.ts';
import type { Validation } from '../lease/validation.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { PublishedLists } from '../revocation/publisher.ts';
import { jwksOf } from '../svid/jwks.ts';
import type { TrustBundle } from '../svid/trust-bundle.ts';
import type { Call, Handlers } from './handlers.ts';
import { once } from './once.ts';
import { identitiesDigest, x509BundlesMessage, x509BundlesOf, x509Message } from './x509-message.ts';

interface Identified {
  readonly instance: ProcessInstance;
}

// A level of JSON is two or three of messages, and clients refuse what is nested a hundred messages deep.
const MOST_LEVELS = 32;

/** The SPIFFE Workload API: asks `lease/`, and translates. */
export function workloadApi(leases: Leases, validation: Validation): Handlers<typeof SpiffeWorkloadAPI, Identified> {
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
      const spiffeId = request.spiffeId === '' ? undefined : requestedId(request.spiffeId);
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
      if (isDeeper(claims, MOST_LEVELS)) {
        throw new MayflyError('TOKEN_INVALID', `token has claims nested more than ${MOST_LEVELS} levels deep`);
      }
      return { spiffeId: id, claims: claims as JsonObject };
    },

    // oxlint-disable-next-line require-yield -- it refuses; its kind is the service's
    async *fetchWITSVID(_request, call) {
      requireSecurityHeader(call.metadata);
      throw witOff();
    },

    // oxlint-disable-next-line require-yield -- it refuses; its kind is the service's
    async *fetchWITBundles(_request, call) {
      requireSecurityHeader(call.metadata);
      throw witOff();
    },
  };
}

/** The workload that calls. It is forgotten when a call of it ends, so one that is asked for has to be called. */
function workloadOf(leases: Leases, call: Call<Identified>) {
  requireSecurityHeader(call.metadata);
  return leases.of(call.caller.instance);
}

/**
 * What every call has to pass first: the header is what keeps a browser or a confused proxy from reaching the socket with a request
 * that it was tricked into (SPIFFE Workload Endpoint §5.2).
 */
function requireSecurityHeader(metadata: Metadata): void {
  const values = metadata.get('workload.spiffe.io');
  if (values.length === 1 && values[0] === 'true') return;
  throw new MayflyError('SECURITY_HEADER_MISSING', 'the metadata is not exactly one workload.spiffe.io: true');
}

function requestedId(text: string): SpiffeId {
  try {
    return parseSpiffeId(text);
  } catch (error) {
    throw new MayflyError('INVALID_SPIFFE_ID', `invalid requested SPIFFE ID: ${messageOf(error)}`, { cause: error });
  }
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1));
}

/** Tells whether parts differ from those of the call before: clients reload whatever they get, so they get what has changed. */
function changes(): (...parts: readonly (Uint8Array | PublishedLists)[]) => boolean {
  let told: readonly (Uint8Array | PublishedLists)[] | undefined;
  return (...parts) => {
    const same = told !== undefined && parts.every((part, index) => isSame(part, told?.[index]));
    told = parts;
    return !same;
  };
}

function isSame(part: Uint8Array | PublishedLists, other: Uint8Array | PublishedLists | undefined): boolean {
  if (part === other) return true;
  return part instanceof Uint8Array && other instanceof Uint8Array && Buffer.compare(part, other) === 0;
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

function witOff(): MayflyError {
  return new MayflyError('NOT_OFFERED', 'the WIT-SVID profile is switched off');
}
