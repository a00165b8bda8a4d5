import type { DescMessage, JsonObject, MessageInitShape } from '@bufbuild/protobuf';
import { create, toBinary } from '@bufbuild/protobuf';
import type { Metadata } from '@grpc/grpc-js';
import type { SpiffeWorkloadAPI } from '../gen/workload_pb.js';
import {
  JWTBundlesResponseSchema,
  JWTSVIDResponseSchema,
  X509BundlesResponseSchema,
  X509SVIDResponseSchema,
} from '../gen/workload_pb.js';
import { parseAudience, parseAudiences } from '../kernel/audience.ts';
import type { Clock } from '../kernel/clock.ts';
import { MayflyError, messageOf } from '../kernel/errors.ts';
import type { SpiffeId } from '../kernel/spiffe-id.ts';
import { idOfTrustDomain, parseSpiffeId } from '../kernel/spiffe-id.ts';
import type { JwtSvid } from '../lease/issuer.ts';
import type { Leases } from '../lease/leases.ts';
import type { BundleUpdate, Delivered, X509Update } from '../lease/updates.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import { jwksOf } from '../svid/jwks.ts';
import type { TrustBundle } from '../svid/trust-bundle.ts';
import type { Call, Handlers } from './handlers.ts';

interface Identified {
  readonly instance: ProcessInstance;
}

// A level of JSON is two or three of messages, and clients refuse what is nested a hundred messages deep.
const MOST_LEVELS = 32;

/** Loaded at the first validation: most agents never do one, and each start would pay for it. */
const verification = () => import('../svid/jwt.ts');

/** The SPIFFE Workload API: asks `lease/`, and translates. */
export function workloadApi(leases: Leases, clock: Clock): Handlers<typeof SpiffeWorkloadAPI, Identified> {
  return {
    async *fetchX509SVID(_request, call) {
      const workload = workloadOf(leases, call);
      yield* changesOf(workload.x509(call.signal), x509Response);
    },

    async *fetchX509Bundles(_request, call) {
      const workload = workloadOf(leases, call);
      yield* changesOf(workload.bundles(call.signal), x509BundlesResponse);
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
      yield* changesOf(workload.bundles(call.signal), jwtBundlesResponse);
    },

    async validateJWTSVID(request, call) {
      requireSecurityHeader(call.metadata);
      const audience = parseAudience(request.audience);
      if (request.svid === '') throw new MayflyError('SVID_MISSING', 'svid must be specified');
      const { own, federated } = await leases.of(call.caller.instance).verifiers();
      const bundles = new Map([own, ...federated].map((bundle) => [bundle.trustDomain, bundle]));
      const { verifyJwtSvid } = await verification();
      const { id, claims } = await verifyJwtSvid(request.svid, audience, bundles, clock.now());
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

/** Encodes each update, and leaves out one that says what the last has said: clients reload whatever they get. */
async function* changesOf<T>(updates: AsyncIterable<T>, encode: (update: T) => Uint8Array | undefined) {
  let told: Uint8Array | undefined;
  for await (const update of updates) {
    const message = encode(update);
    if (message === undefined || (told !== undefined && Buffer.compare(told, message) === 0)) continue;
    told = message;
    yield message;
  }
}

/** Encodes a value once for all who are sent it, and for as long as somebody holds the value. */
function once<T extends object, R>(make: (value: T) => R): (value: T) => R {
  const made = new WeakMap<T, R>();
  return (value) => {
    let result = made.get(value);
    if (result === undefined) {
      result = make(value);
      made.set(value, result);
    }
    return result;
  };
}

function encoded<M extends DescMessage>(schema: M, message: MessageInitShape<M>): Uint8Array {
  return toBinary(schema, create(schema, message));
}

const x509Response = once((update: X509Update): Uint8Array | undefined => {
  // A key that is gone belongs to an update which another has already overtaken, or to a stream about to end.
  if (update.svids.some(({ svid }) => svid.privateKey.destroyed)) return undefined;
  const bundle = x509BundleOf(update.own);
  return encoded(X509SVIDResponseSchema, {
    svids: update.svids.map(({ svid, hint }) => ({
      spiffeId: svid.spiffeId,
      x509Svid: Buffer.concat(svid.chain),
      x509SvidKey: svid.privateKey.reveal(),
      bundle,
      hint,
    })),
    federatedBundles: x509Bundles(update.federated),
  });
});

const x509BundlesResponse = once(({ own, federated }: BundleUpdate) =>
  encoded(X509BundlesResponseSchema, { bundles: x509Bundles([own, ...federated]) }),
);

const jwtBundlesResponse = once(({ own, federated }: BundleUpdate) => {
  const usable = [own, ...federated].filter((bundle) => bundle.jwtAuthorities.length > 0);
  return encoded(JWTBundlesResponseSchema, { bundles: byTrustDomain(usable, jwksBytesOf) });
});

const jwksBytesOf = once((bundle: TrustBundle): Uint8Array => Buffer.from(jwksOf(bundle)));
const x509BundleOf = once((bundle: TrustBundle): Uint8Array => Buffer.concat(bundle.x509Authorities));

/** By SPIFFE ID. An empty bundle is left out: java-spiffe and py-spiffe reject the whole message for one. */
function x509Bundles(bundles: readonly TrustBundle[]): Record<string, Uint8Array> {
  return byTrustDomain(
    bundles.filter((bundle) => bundle.x509Authorities.length > 0),
    x509BundleOf,
  );
}

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
