import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import {
  SecretSchema,
  SPIFFECertValidatorConfigSchema,
} from '../../gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.js';
import { MayflyError } from '../../kernel/errors.ts';
import type { TrustDomain } from '../../kernel/spiffe-id.ts';
import type { BundleUpdate } from '../../lease/updates.ts';
import type { PublishedLists } from '../../revocation/publisher.ts';
import { certificatesToPem, toPem } from '../../svid/certificate.ts';
import type { TrustBundle } from '../../svid/trust-bundle.ts';
import { once } from '../once.ts';
import { bytesPart } from '../wire-format.ts';
import type { Resource } from './resource.ts';
import { anyOf, versionOf } from './resource.ts';

/** How validation contexts are written: for Envoy's SPIFFE validator, which holds each root to its trust domain, or as plain roots. */
export type Validator = 'spiffe' | 'trusted-ca';

/** Bundles, each with the lists of its CAs, where there are any. */
export interface Trusted {
  readonly bundle: TrustBundle;
  readonly lists?: PublishedLists;
}

const SPIFFE_VALIDATOR = 'envoy.tls.cert_validator.spiffe';

/**
 * The validation context of a name. Made once for all who ask for the same: at a revocation that is every proxy of the node.
 *
 * @param domain whose bundle it holds; `undefined` for all there are
 * @returns `undefined` when there is none
 * @throws MayflyError `INVALID_REQUEST` when it cannot be written so
 */
export function validationSecret(
  name: string,
  { bundles, lists }: { readonly bundles: BundleUpdate; readonly lists: PublishedLists },
  domain: TrustDomain | undefined,
  validator: Validator,
): Resource | undefined {
  const known = secretsOf(bundles, lists);
  // A reload may have given a name another meaning.
  const key = `${validator} ${domain ?? '*'} ${name}`;
  let resource = known.get(key);
  if (resource === undefined) {
    const { federated, own } = bundles;
    const all = [{ bundle: own, lists }, ...federated.map((bundle) => ({ bundle }))];
    const trusted = all.filter(
      ({ bundle: { trustDomain, x509Authorities } }) =>
        x509Authorities.length > 0 && (domain === undefined || trustDomain === domain),
    );
    if (trusted.length === 0) return undefined;
    resource = validationContext(name, trusted, validator);
    known.set(key, resource);
  }
  return resource;
}

/**
 * Writes a validation context.
 *
 * @param trusted none that is empty, and none twice: Envoy refuses the whole secret for one
 * @throws MayflyError `INVALID_REQUEST` when it cannot be written so
 */
export function validationContext(name: string, trusted: readonly Trusted[], validator: Validator): Resource {
  if (validator === 'spiffe') {
    const sorted = trusted.toSorted(({ bundle: a }, { bundle: b }) => (a.trustDomain < b.trustDomain ? -1 : 1));
    const trustDomains = sorted.map((each) => ({
      name: each.bundle.trustDomain,
      // The validator has no other place for lists than beside the roots.
      trustBundle: inline(rootsPem(each.bundle) + listsPem(each)),
    }));
    const config = create(SPIFFECertValidatorConfigSchema, { trustDomains });
    const typedConfig = anyPack(SPIFFECertValidatorConfigSchema, config);
    return contextSecret(name, { customValidatorConfig: { name: SPIFFE_VALIDATOR, typedConfig } });
  }
  const [only, ...others] = trusted;
  if (only === undefined || others.length > 0) {
    throw new MayflyError(
      'INVALID_REQUEST',
      `${JSON.stringify(name)} holds the bundles of ${trusted.length} trust domains, and as a plain trusted_ca each could vouch for the names of the others; leave disable_spiffe_cert_validation off, or ask for the bundle of one trust domain`,
    );
  }
  const list = listsPem(only);
  return contextSecret(name, { trustedCa: inline(rootsPem(only.bundle)), ...(list !== '' && { crl: inline(list) }) });
}

type ValidationContext = Extract<
  NonNullable<MessageInitShape<typeof SecretSchema>['type']>,
  { case: 'validationContext' }
>['value'];

function contextSecret(name: string, value: ValidationContext): Resource {
  const secret = toBinary(SecretSchema, create(SecretSchema, { name, type: { case: 'validationContext', value } }));
  return { name, version: versionOf(name, secret), any: anyOf(bytesPart(secret)) };
}

function inline(pem: string) {
  return { specifier: { case: 'inlineBytes' as const, value: Buffer.from(pem) } };
}

function listsPem({ lists }: Trusted): string {
  return lists === undefined ? '' : crlPem(lists);
}

/** By validator, trust domain and name. */
function secretsOf(bundles: BundleUpdate, lists: PublishedLists): Map<string, Resource> {
  const byBundles = secretsWith(lists);
  const known = byBundles.get(bundles) ?? new Map<string, Resource>();
  byBundles.set(bundles, known);
  return known;
}

const secretsWith = once((_lists: PublishedLists) => new WeakMap<BundleUpdate, Map<string, Resource>>());
const rootsPem = once(({ x509Authorities }: TrustBundle): string => certificatesToPem(x509Authorities));
const crlPem = once(({ crls }: PublishedLists): string => crls.map((crl) => toPem('X509 CRL', crl)).join(''));
