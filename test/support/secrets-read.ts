import { createPrivateKey, X509Certificate } from 'node:crypto';
import { fromBinary } from '@bufbuild/protobuf';
import type { Any } from '@bufbuild/protobuf/wkt';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import type { DataSource } from '../../agent/gen/envoy/config/core/v3/base_pb.js';
import {
  SecretSchema,
  SPIFFECertValidatorConfigSchema,
} from '../../agent/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.js';
import { readCrls } from './crl-reader.ts';

/** The roots and lists of one trust domain, in the order in which they stand. */
export interface ReadBundle {
  readonly roots: readonly string[];
  /** By issuer and revoked serials. */
  readonly lists: readonly { readonly issuer: string; readonly number: number; readonly serials: readonly string[] }[];
}

/** A secret as a test looks at it; what it says is checked where it is read. */
export type ReadSecret = { readonly name: string } & (
  | { readonly kind: 'certificate'; readonly id: string; readonly serial: string; readonly chain: readonly string[] }
  | { readonly kind: 'spiffe'; readonly domains: Readonly<Record<string, ReadBundle>> }
  | { readonly kind: 'trusted-ca'; readonly bundle: ReadBundle }
);

/** Reads one resource of a response as Envoy does. @throws Error when it is none that Envoy takes */
export function readSecret(any: Any | undefined): ReadSecret {
  const secret = any === undefined ? undefined : anyUnpack(any, SecretSchema);
  if (secret === undefined) throw new Error(`no secret but ${any?.typeUrl ?? 'nothing'}`);
  const { name, type } = secret;
  if (type.case === 'tlsCertificate') {
    const chain = certificatesIn(textOf(type.value.certificateChain));
    const [leaf] = chain.map((pem) => new X509Certificate(pem));
    if (leaf === undefined) throw new Error('a certificate without a leaf');
    if (!leaf.checkPrivateKey(createPrivateKey(textOf(type.value.privateKey)))) throw new Error('the key of another');
    const id = /^URI:(\S+)$/.exec(leaf.subjectAltName ?? '')?.[1] ?? '';
    return { name, kind: 'certificate', id, serial: leaf.serialNumber.toLowerCase(), chain };
  }
  if (type.case !== 'validationContext') throw new Error('a secret that holds nothing');
  const { crl, customValidatorConfig, trustedCa } = type.value;
  if (customValidatorConfig === undefined) {
    return { name, kind: 'trusted-ca', bundle: bundleIn(textOf(trustedCa) + (crl === undefined ? '' : textOf(crl))) };
  }
  const { typedConfig } = customValidatorConfig;
  const validator = customValidatorConfig.name === 'envoy.tls.cert_validator.spiffe';
  if (!validator || typedConfig?.typeUrl !== `type.googleapis.com/${SPIFFECertValidatorConfigSchema.typeName}`) {
    throw new Error('a validator that Envoy does not know');
  }
  const { trustDomains } = fromBinary(SPIFFECertValidatorConfigSchema, typedConfig.value);
  if (new Set(trustDomains.map((each) => each.name)).size < trustDomains.length) throw new Error('a domain twice');
  const domains = trustDomains.map(({ name: domain, trustBundle }) => [domain, bundleIn(textOf(trustBundle))] as const);
  return { name, kind: 'spiffe', domains: Object.fromEntries(domains) };
}

function textOf(source: DataSource | undefined): string {
  if (source?.specifier.case !== 'inlineBytes') throw new Error('nothing is there inline');
  return Buffer.from(source.specifier.value).toString();
}

function bundleIn(text: string): ReadBundle {
  const roots = certificatesIn(text);
  if (roots.length === 0) throw new Error('an empty bundle');
  const ders = [...text.matchAll(/-----BEGIN X509 CRL-----([^-]+)-----END X509 CRL-----\n/g)];
  const lists = readCrls(ders.map(([, base64]) => Buffer.from(base64 ?? '', 'base64')));
  return { roots, lists: lists.map(({ issuer, number, serials }) => ({ issuer, number, serials })) };
}

function certificatesIn(text: string): string[] {
  return text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/g) ?? [];
}
