import type { SpiffeId, TrustDomain } from '../kernel/spiffe-id.ts';
import { idOfTrustDomain } from '../kernel/spiffe-id.ts';
import { context, integer, oid, sequence, setOf, smallInteger, time, utf8String } from './der.ts';
import type { SigningKey } from './signing-key.ts';
import { keyIdOf, signedStructure } from './signing-key.ts';
import {
  authorityKeyId,
  CA_KEY_USAGE,
  caBasicConstraints,
  EC_LEAF_KEY_USAGE,
  LEAF_BASIC_CONSTRAINTS,
  LEAF_EXTENDED_KEY_USAGE,
  RSA_LEAF_KEY_USAGE,
  subjectAltName,
  subjectKeyId,
  uriNameConstraint,
} from './x509-extension.ts';

/** Who signs a certificate or a CRL. */
export interface X509Issuer {
  /** The distinguished name in DER, as it stands in the CA's certificate. */
  readonly name: Buffer;
  readonly key: SigningKey;
  /** The CA certificate's subject key identifier. */
  readonly keyId: Buffer;
}

/** What a leaf says of its subject. Times in milliseconds since the epoch, cut to the second. */
export interface LeafTerms {
  readonly id: SpiffeId;
  readonly dnsNames: readonly string[];
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey: Buffer;
  /** From {@link newSerial}. */
  readonly serial: Buffer;
  readonly notBefore: number;
  readonly notAfter: number;
}

/** What a CA certificate says. Times in milliseconds since the epoch, cut to the second. */
export interface CaTerms {
  readonly trustDomain: TrustDomain;
  /** From {@link caName}. */
  readonly name: Buffer;
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey: Buffer;
  /** From {@link newSerial}. */
  readonly serial: Buffer;
  readonly notBefore: number;
  readonly notAfter: number;
  /** How many CAs may follow below; `undefined` for any number. */
  readonly pathLength: number | undefined;
  /** Confine what is below to the trust domain by a URI name constraint, which rustls refuses altogether. */
  readonly nameConstraint: boolean;
}

const VERSION_3 = context(0, smallInteger(2));
// A subject that is not empty, so that the SAN need not be critical (RFC 5280 §4.1.2.6); it says nothing that a verifier uses.
const ORGANIZATION = relativeName('2.5.4.10', 'Mayfly');
const COMMON_NAME = '2.5.4.3';
const LEAF_NAME = sequence(ORGANIZATION);
const MAX_COMMON_NAME = 64;
// rsaEncryption with its NULL parameters, which stands right behind the outer header of every RSA SubjectPublicKeyInfo.
const RSA_ALGORITHM = Buffer.from('300d06092a864886f70d0101010500', 'hex');
const RSA_ALGORITHM_AT = 4;

/**
 * A new serial number's bytes: 128 random bits (CA/Browser Forum asks for 64) behind one fixed octet, so that every serial is
 * positive, 17 octets long (RFC 5280 §4.1.2.2 allows 20), and its hexadecimal form has no leading zero for readers to disagree on.
 */
export function newSerial(random: (bytes: number) => Buffer): Buffer {
  const serial = random(17);
  serial[0] = 0x4d;
  return serial;
}

/** A CA's name, its own for each key: verifiers look issuers and CRLs up by name, and two roots of one name are tried in turn. */
export function caName(role: 'root' | 'issuing CA', keyId: Buffer): Buffer {
  return sequence(ORGANIZATION, relativeName(COMMON_NAME, `${role} ${keyId.toString('hex', 0, 8)}`));
}

/** Signs a CA certificate; a root is its own issuer. Returns DER. */
export function signCa(terms: CaTerms, issuer: X509Issuer): Buffer {
  const keyId = keyIdOf(terms.publicKey);
  const extensions = [
    CA_KEY_USAGE,
    caBasicConstraints(terms.pathLength),
    subjectKeyId(keyId),
    // RFC 5280 §4.2.1.1: not needed where a certificate signs itself.
    ...(keyId.equals(issuer.keyId) ? [] : [authorityKeyId(issuer.keyId)]),
    // X509-SVID §3.2: a signing certificate's SPIFFE ID has no path.
    subjectAltName(idOfTrustDomain(terms.trustDomain), []),
    ...(terms.nameConstraint ? [uriNameConstraint(terms.trustDomain)] : []),
  ];
  const toBeSigned = sequence(
    VERSION_3,
    integer(terms.serial),
    issuer.key.algorithm.identifier,
    issuer.name,
    sequence(time(terms.notBefore), time(terms.notAfter)),
    terms.name,
    terms.publicKey,
    context(3, sequence(...extensions)),
  );
  return signedStructure(toBeSigned, issuer.key);
}

/** Signs leaves under one issuer. What is the same in all of them is encoded once. */
export class LeafSigner {
  readonly issuer: X509Issuer;
  readonly #sameForEc: Buffer;
  readonly #sameForRsa: Buffer;

  constructor(issuer: X509Issuer) {
    this.issuer = issuer;
    const rest = [LEAF_EXTENDED_KEY_USAGE, LEAF_BASIC_CONSTRAINTS, authorityKeyId(issuer.keyId)];
    this.#sameForEc = Buffer.concat([EC_LEAF_KEY_USAGE, ...rest]);
    this.#sameForRsa = Buffer.concat([RSA_LEAF_KEY_USAGE, ...rest]);
  }

  /** Signs one leaf as the X509-SVID profile has it. Returns DER. */
  sign(leaf: LeafTerms): Buffer {
    const { issuer } = this;
    const rsa = leaf.publicKey.indexOf(RSA_ALGORITHM) === RSA_ALGORITHM_AT;
    const toBeSigned = sequence(
      VERSION_3,
      integer(leaf.serial),
      issuer.key.algorithm.identifier,
      issuer.name,
      sequence(time(leaf.notBefore), time(leaf.notAfter)),
      leafName(leaf.dnsNames[0]),
      leaf.publicKey,
      context(
        3,
        sequence(
          rsa ? this.#sameForRsa : this.#sameForEc,
          subjectKeyId(keyIdOf(leaf.publicKey)),
          subjectAltName(leaf.id, leaf.dnsNames),
        ),
      ),
    );
    return signedStructure(toBeSigned, issuer.key);
  }
}

/** With the first DNS name as common name, where it fits (RFC 5280 appendix A: 64): PostgreSQL and others map it to a user. */
function leafName(dnsName: string | undefined): Buffer {
  if (dnsName === undefined || dnsName.length > MAX_COMMON_NAME) return LEAF_NAME;
  return sequence(ORGANIZATION, relativeName(COMMON_NAME, dnsName));
}

function relativeName(type: string, value: string): Buffer {
  return setOf(sequence(oid(type), utf8String(value)));
}
