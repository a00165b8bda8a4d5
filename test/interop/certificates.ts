import { X509Certificate } from 'node:crypto';
import type { Identity } from './client.ts';

export function leafOf(identity: Identity): X509Certificate {
  return parsed(identity.chain[0] ?? '');
}

export function serialOf(identity: Identity): string {
  return leafOf(identity).serialNumber;
}

/** Base64 of the leaf's SubjectPublicKeyInfo. */
export function keyOf(identity: Identity): string {
  return leafOf(identity).publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
}

/** True when each certificate of a chain has signed the one before it, and one of the roots the last; a root is not in the chain. */
export function leadsTo(identity: Identity, roots: readonly string[]): boolean {
  if (identity.chain.some((der) => roots.includes(der))) return false;
  const [leaf, ...issuers] = identity.chain.map(parsed);
  let child = leaf;
  for (const issuer of issuers) {
    if (child === undefined || !signed(issuer, child)) return false;
    child = issuer;
  }
  const last = child;
  return last !== undefined && roots.some((root) => signed(parsed(root), last));
}

function signed(issuer: X509Certificate, child: X509Certificate): boolean {
  return issuer.ca && child.checkIssued(issuer) && child.verify(issuer.publicKey);
}

function parsed(der: string): X509Certificate {
  return new X509Certificate(Buffer.from(der, 'base64'));
}
