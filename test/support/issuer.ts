import { randomBytes } from 'node:crypto';
import { parseSpiffeId, parseTrustDomain } from '../../agent/kernel/spiffe-id.ts';
import type { SigningKeyType } from '../../agent/svid/signing-key.ts';
import { generateSigningKey, keyIdOf } from '../../agent/svid/signing-key.ts';
import type { LeafTerms, X509Issuer } from '../../agent/svid/x509.ts';
import { caName, newSerial, signCa } from '../../agent/svid/x509.ts';

const DAY = 86_400_000;

/** A root and an issuing CA under it, valid from yesterday for a month. */
export interface Chain {
  readonly root: Buffer;
  readonly rootIssuer: X509Issuer;
  readonly ca: Buffer;
  readonly issuer: X509Issuer;
}

export function makeChain(keyType: SigningKeyType, options: { nameConstraint?: boolean } = {}): Chain {
  const rootIssuer = makeIssuer('root', keyType);
  const issuer = makeIssuer('issuing CA', keyType);
  const common = {
    trustDomain: parseTrustDomain('example.org'),
    notBefore: Date.now() - DAY,
    notAfter: Date.now() + 30 * DAY,
  };
  const root = signCa(
    { ...common, ...subjectOf(rootIssuer), pathLength: undefined, nameConstraint: false },
    rootIssuer,
  );
  const nameConstraint = options.nameConstraint ?? false;
  const ca = signCa({ ...common, ...subjectOf(issuer), pathLength: 0, nameConstraint }, rootIssuer);
  return { root, rootIssuer, ca, issuer };
}

/** What a leaf says, for an hour from now. */
export function leafTerms(publicKey: Buffer, more: { id?: string; dnsNames?: readonly string[] } = {}): LeafTerms {
  return {
    id: parseSpiffeId(more.id ?? 'spiffe://example.org/payments'),
    dnsNames: more.dnsNames ?? [],
    publicKey,
    serial: newSerial(randomBytes),
    notBefore: Date.now() - 10_000,
    notAfter: Date.now() + 3_600_000,
  };
}

function makeIssuer(role: 'root' | 'issuing CA', keyType: SigningKeyType): X509Issuer {
  const key = generateSigningKey(keyType);
  const keyId = keyIdOf(key.publicKey);
  return { name: caName(role, keyId), key, keyId };
}

function subjectOf(issuer: X509Issuer) {
  return { name: issuer.name, publicKey: issuer.key.publicKey, serial: newSerial(randomBytes) };
}
