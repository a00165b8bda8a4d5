import type { TrustDomain } from '../kernel/spiffe-id.ts';
import type { PublicJwk } from '../svid/jwk.ts';
import { publicJwkOf, thumbprintOf } from '../svid/jwk.ts';
import type { SigningKey, SigningKeyType } from '../svid/signing-key.ts';
import { generateSigningKey, keyIdOf } from '../svid/signing-key.ts';
import type { X509Issuer } from '../svid/x509.ts';
import { caName, newSerial, signCa } from '../svid/x509.ts';
import type { Generation } from './generations.ts';
import { wholeSeconds } from './generations.ts';

/** A root: what verifiers trust. It signs issuing CAs alone. */
export interface RootKey extends Generation {
  /** DER. */
  readonly certificate: Buffer;
  readonly issuer: X509Issuer;
}

/** The CA that signs leaves, and lists of those revoked, until the last of its leaves has expired. */
export interface IssuingKey extends Generation {
  /** DER. */
  readonly certificate: Buffer;
  readonly issuer: X509Issuer;
  readonly nameConstraint: boolean;
}

/** What signs tokens of one kind. Its `id` is the `kid`. */
export interface TokenKey extends Generation {
  readonly key: SigningKey;
  readonly jwk: PublicJwk;
}

/** What every new key is made from. */
export interface KeyTerms {
  readonly trustDomain: TrustDomain;
  readonly keyType: SigningKeyType;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly random: (bytes: number) => Buffer;
}

// Authorities are valid from an hour before they were made: a clock that is set back by as much, or a verifier whose clock is
// behind, does not make all that they sign not valid yet. It signs nothing for that hour.
const BACK_DATE_MS = 3_600_000;

/** Makes a root that signs itself. @param ttl milliseconds */
export function makeRoot(terms: KeyTerms, ttl: number): RootKey {
  const key = generateSigningKey(terms.keyType);
  const issuer = issuerOf('root', key);
  const validity = { notBefore: wholeSeconds(terms.now - BACK_DATE_MS), notAfter: wholeSeconds(terms.now + ttl) };
  const certificate = signCa(
    {
      ...validity,
      trustDomain: terms.trustDomain,
      name: issuer.name,
      publicKey: key.publicKey,
      serial: newSerial(terms.random),
      pathLength: undefined,
      nameConstraint: false,
    },
    issuer,
  );
  return { id: idOf(issuer), createdAt: terms.now, ...validity, activated: false, certificate, issuer };
}

/** Makes an issuing CA under a root, within the root's validity. @param notAfter milliseconds since the epoch */
export function makeIssuingCa(terms: KeyTerms, root: RootKey, notAfter: number, nameConstraint: boolean): IssuingKey {
  const key = generateSigningKey(terms.keyType);
  const issuer = issuerOf('issuing CA', key);
  const validity = { notBefore: Math.max(wholeSeconds(terms.now - BACK_DATE_MS), root.notBefore), notAfter };
  const certificate = signCa(
    {
      ...validity,
      trustDomain: terms.trustDomain,
      name: issuer.name,
      publicKey: key.publicKey,
      serial: newSerial(terms.random),
      pathLength: 0,
      nameConstraint,
    },
    root.issuer,
  );
  return { id: idOf(issuer), createdAt: terms.now, ...validity, activated: false, certificate, issuer, nameConstraint };
}

/** Makes a key for tokens. @param ttl milliseconds */
export function makeTokenKey(terms: KeyTerms, ttl: number): TokenKey {
  return tokenKeyOf(generateSigningKey(terms.keyType), {
    createdAt: terms.now,
    notAfter: wholeSeconds(terms.now + ttl),
    activated: false,
  });
}

/** A key for tokens with what follows from its private key. */
export function tokenKeyOf(key: SigningKey, life: Pick<Generation, 'createdAt' | 'notAfter' | 'activated'>): TokenKey {
  const jwk = publicJwkOf(key.privateKey);
  if (jwk === undefined) throw new Error('a signing key has no JWK');
  // A JWK has no validity of its own: as for certificates, a key from further in the future than this is not used.
  const notBefore = wholeSeconds(life.createdAt - BACK_DATE_MS);
  return { id: thumbprintOf(jwk), ...life, notBefore, key, jwk };
}

/** Name and key identifier follow from role and key, so that nothing but the key is needed to sign on after a restart. */
export function issuerOf(role: 'root' | 'issuing CA', key: SigningKey): X509Issuer {
  const keyId = keyIdOf(key.publicKey);
  return { name: caName(role, keyId), key, keyId };
}

/** The subject key identifier in hexadecimal. */
export function idOf(issuer: X509Issuer): string {
  return issuer.keyId.toString('hex');
}
