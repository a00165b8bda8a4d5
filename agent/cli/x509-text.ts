import type { X509Certificate } from 'node:crypto';
import { formatTime, formatUntil } from './moment.ts';
import { fields } from './output.ts';
import type { X509Context, X509Identity } from './x509-identity.ts';
import { dnsNamesOf, nameOf, serialOf } from './x509-identity.ts';

/** All of an identity for people. @param now milliseconds since the epoch */
export function identityLines(identity: X509Identity, now: number): string[] {
  const [leaf, ...intermediates] = identity.chain;
  const { issuer, root } = identity;
  return [
    identity.spiffeId,
    ...fields([
      ['serial', serialOf(leaf)],
      ['valid from', formatTime(leaf.validFromDate)],
      ['valid until', formatUntil(leaf.validToDate, now)],
      ['key', keyOf(leaf)],
      ['hint', identity.hint],
      ['DNS names', dnsNamesOf(leaf).join(', ')],
      ['chain', [leaf, ...intermediates].map((certificate) => nameOf(certificate.subject)).join(' < ')],
      [
        'signed by',
        issuer === undefined ? `${nameOf(leaf.issuer)}, which the agent did not send` : authority(issuer, now),
      ],
      ['root', root === undefined ? 'none: no root of the bundle has signed this chain' : authority(root, now)],
    ]),
  ];
}

/** All that an update says, for `--json`: certificates and lists in PEM, and no private key, which is in files or nowhere. */
export function contextJson(context: X509Context, now: number) {
  return {
    svids: context.identities.map((identity) => identityJson(identity, now)),
    federated_bundles: Object.fromEntries([...context.federated].map(([id, roots]) => [id, roots.map(String)])),
    crls: context.crls.map(crlPem),
  };
}

/** A certificate list in PEM. */
export function crlPem(der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return ['-----BEGIN X509 CRL-----', ...lines, '-----END X509 CRL-----', ''].join('\n');
}

function identityJson(identity: X509Identity, now: number) {
  const [leaf] = identity.chain;
  const { issuer, root } = identity;
  return {
    spiffe_id: identity.spiffeId,
    hint: identity.hint,
    serial: serialOf(leaf),
    not_before: leaf.validFromDate.toISOString(),
    not_after: leaf.validToDate.toISOString(),
    seconds_left: Math.trunc((leaf.validToDate.getTime() - now) / 1000),
    key: keyOf(leaf),
    dns_names: dnsNamesOf(leaf),
    issuer: issuer === undefined ? null : authorityJson(issuer),
    root: root === undefined ? null : authorityJson(root),
    chain: identity.chain.map(String),
    bundle: identity.bundle.map(String),
  };
}

function authority(certificate: X509Certificate, now: number): string {
  return `${nameOf(certificate.subject)}, until ${formatUntil(certificate.validToDate, now)}`;
}

function authorityJson(certificate: X509Certificate) {
  return {
    subject: nameOf(certificate.subject),
    serial: serialOf(certificate),
    not_after: certificate.validToDate.toISOString(),
    sha256: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
  };
}

function keyOf({ publicKey }: X509Certificate): string {
  const { namedCurve, modulusLength } = publicKey.asymmetricKeyDetails ?? {};
  return [publicKey.asymmetricKeyType?.toUpperCase(), namedCurve ?? modulusLength].filter(Boolean).join(' ');
}
