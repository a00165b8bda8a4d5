import { hash } from 'node:crypto';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import {
  SecretSchema,
  SPIFFECertValidatorConfigSchema,
} from '../../gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.js';
import { MayflyError } from '../../kernel/errors.ts';
import { idOfTrustDomain } from '../../kernel/spiffe-id.ts';
import type { X509Svid } from '../../lease/svid.ts';
import type { BundleUpdate } from '../../lease/updates.ts';
import type { PublishedLists } from '../../revocation/publisher.ts';
import { certificatesToPem, toPem } from '../../svid/certificate.ts';
import { keyPemLength, writeKeyPem } from '../../svid/secret-pem.ts';
import type { TrustBundle } from '../../svid/trust-bundle.ts';
import { once } from '../once.ts';
import type { Part } from '../wire-format.ts';
import { bytesPart, field } from '../wire-format.ts';
import { bundleOfNobody } from './nobody.ts';
import type { Asked } from './resource-name.ts';

/** What a caller may have at a moment. */
export interface Holdable {
  /** Its identities, the first one first; empty where it has asked for none. */
  readonly svids: readonly X509Svid[];
  /** `undefined` where it has asked for none. */
  readonly bundles: BundleUpdate | undefined;
  /** Of the CAs of the own trust domain. */
  readonly lists: PublishedLists;
}

/** How validation contexts are written: for Envoy's SPIFFE validator, which holds each root to its trust domain, or as plain roots. */
export type Validator = 'spiffe' | 'trusted-ca';

/** One secret under one name. */
export interface Resource {
  readonly name: string;
  /** Of two that say the same it is the same, whoever asks and whenever. */
  readonly version: string;
  /** The content of a `google.protobuf.Any`. */
  readonly any: readonly Part[];
  /** Set where a private key is in it. */
  readonly svid?: X509Svid;
}

export const SECRET_TYPE = `type.googleapis.com/${SecretSchema.typeName}`;

const SPIFFE_VALIDATOR = 'envoy.tls.cert_validator.spiffe';

// Field numbers, for what is written by hand.
const ANY = { typeUrl: 1, value: 2 } as const;
const SECRET = { name: 1, tlsCertificate: 2 } as const;
const TLS_CERTIFICATE = { certificateChain: 1, privateKey: 2 } as const;
const INLINE_BYTES = 2;

/**
 * The secret that a name asks for, or `undefined` when the caller may not have it.
 *
 * @throws MayflyError `INVALID_REQUEST` when it cannot be written as asked
 */
export function secretFor(asked: Asked, from: Holdable, validator: Validator): Resource | undefined {
  if (asked.kind === 'svid') {
    const svid = asked.id === undefined ? from.svids[0] : from.svids.find(({ spiffeId }) => spiffeId === asked.id);
    return svid && certificateSecret(asked.name, svid);
  }
  const { bundles, lists } = from;
  return bundles && validationSecret(asked, bundles, lists, validator);
}

/**
 * What takes the place of a secret that a proxy has had and may have no longer: a bundle that vouches for nobody. There is nothing of
 * the kind for a certificate, which the lists and its expiry end.
 */
export function secretInPlaceOf(asked: Asked, validator: Validator): Resource | undefined {
  if (asked.kind !== 'bundle' || asked.trustDomain === undefined) return undefined;
  return validationContext(asked.name, [bundleOfNobody(asked.trustDomain)], undefined, validator);
}

/** Everything that the caller may have, under the name that each has by itself. */
export function allSecrets(from: Holdable, validator: Validator): readonly Resource[] {
  const bundles = from.bundles === undefined ? [] : [from.bundles.own, ...from.bundles.federated];
  const asked: Asked[] = [
    ...bundles.map(({ trustDomain }) => ({
      name: idOfTrustDomain(trustDomain),
      kind: 'bundle' as const,
      trustDomain,
    })),
    ...new Set(from.svids.map(({ spiffeId }) => spiffeId))
      .values()
      .map((id) => ({ name: id, kind: 'svid' as const, id })),
  ];
  return asked.flatMap((each) => secretFor(each, from, validator) ?? []);
}

/** Made once for each name: a process may follow one identity on a thousand streams. The key is where it was. */
function certificateSecret(name: string, svid: X509Svid): Resource {
  const known = secretsOf(svid);
  let resource = known.get(name);
  if (resource === undefined) {
    resource = certificateResource(name, svid);
    known.set(name, resource);
  }
  return resource;
}

const secretsOf = once((_svid: X509Svid) => new Map<string, Resource>());

function certificateResource(name: string, svid: X509Svid): Resource {
  const chain = Buffer.from(certificatesToPem(svid.chain));
  const key = svid.privateKey.reveal();
  const keyPem: Part = { length: keyPemLength(key.length), write: (into, at) => writeKeyPem(key, into, at) };
  const certificate = field(
    SECRET.tlsCertificate,
    field(TLS_CERTIFICATE.certificateChain, field(INLINE_BYTES, bytesPart(chain))),
    field(TLS_CERTIFICATE.privateKey, field(INLINE_BYTES, keyPem)),
  );
  return {
    name,
    version: versionOf(name, chain),
    any: anyOf(field(SECRET.name, bytesPart(Buffer.from(name))), certificate),
    svid,
  };
}

/** Encoded once for all who ask for the same: at a revocation that is every proxy of the node. */
function validationSecret(
  asked: Exclude<Asked, { kind: 'svid' }>,
  bundles: BundleUpdate,
  lists: PublishedLists,
  validator: Validator,
): Resource | undefined {
  const known = secretsWith(lists);
  let secrets = known.get(bundles);
  if (secrets === undefined) {
    secrets = new Map();
    known.set(bundles, secrets);
  }
  const key = `${validator} ${asked.name}`;
  let resource = secrets.get(key);
  if (resource === undefined) {
    const trusted = trustedBy(asked, bundles);
    if (trusted.length === 0) return undefined;
    resource = validationContext(asked.name, trusted, { own: bundles.own, lists }, validator);
    secrets.set(key, resource);
  }
  return resource;
}

const secretsWith = once((_lists: PublishedLists) => new WeakMap<BundleUpdate, Map<string, Resource>>());

/** By trust domain, and none that is empty: Envoy refuses a whole secret for one that is empty, or there twice. */
function trustedBy(asked: Exclude<Asked, { kind: 'svid' }>, { own, federated }: BundleUpdate): readonly TrustBundle[] {
  const all = [own, ...federated]
    .filter(({ x509Authorities }) => x509Authorities.length > 0)
    .toSorted((a, b) => (a.trustDomain < b.trustDomain ? -1 : 1));
  if (asked.kind === 'all-bundles') return all;
  const domain = asked.trustDomain ?? own.trustDomain;
  return all.filter(({ trustDomain }) => trustDomain === domain);
}

function validationContext(
  name: string,
  trusted: readonly TrustBundle[],
  listed: { readonly own: TrustBundle; readonly lists: PublishedLists } | undefined,
  validator: Validator,
): Resource {
  const crls = (bundle: TrustBundle) => (bundle.trustDomain === listed?.own.trustDomain ? crlPem(listed.lists) : '');
  if (validator === 'spiffe') {
    const trustDomains = trusted.map((bundle) => ({
      name: bundle.trustDomain,
      // The validator has no other place for lists than beside the roots.
      trustBundle: inline(rootsPem(bundle) + crls(bundle)),
    }));
    const config = create(SPIFFECertValidatorConfigSchema, { trustDomains });
    const typedConfig = anyPack(SPIFFECertValidatorConfigSchema, config);
    return contextResource(name, { customValidatorConfig: { name: SPIFFE_VALIDATOR, typedConfig } });
  }
  const [only, ...others] = trusted;
  if (only === undefined || others.length > 0) {
    throw new MayflyError(
      'INVALID_REQUEST',
      `${JSON.stringify(name)} holds the bundles of ${trusted.length} trust domains, and as a plain trusted_ca each could vouch for the names of the others; leave disable_spiffe_cert_validation off, or ask for the bundle of one trust domain`,
    );
  }
  const list = crls(only);
  return contextResource(name, { trustedCa: inline(rootsPem(only)), ...(list !== '' && { crl: inline(list) }) });
}

type ValidationContext = Extract<
  NonNullable<MessageInitShape<typeof SecretSchema>['type']>,
  { case: 'validationContext' }
>['value'];

function contextResource(name: string, value: ValidationContext): Resource {
  const secret = toBinary(SecretSchema, create(SecretSchema, { name, type: { case: 'validationContext', value } }));
  return { name, version: versionOf(name, secret), any: anyOf(bytesPart(secret)) };
}

function inline(pem: string) {
  return { specifier: { case: 'inlineBytes' as const, value: Buffer.from(pem) } };
}

const rootsPem = once(({ x509Authorities }: TrustBundle): string => certificatesToPem(x509Authorities));
const crlPem = once(({ crls }: PublishedLists): string => crls.map((crl) => toPem('X509 CRL', crl)).join(''));

function anyOf(...secret: readonly Part[]): readonly Part[] {
  return [field(ANY.typeUrl, bytesPart(Buffer.from(SECRET_TYPE))), field(ANY.value, ...secret)];
}

/** Certificates are told apart by themselves: a key has exactly one. */
function versionOf(name: string, content: Uint8Array): string {
  return hash('sha256', Buffer.concat([Buffer.from(`${name}\0`), content])).slice(0, 16);
}
