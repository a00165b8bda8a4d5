import type { SpiffeId, TrustDomain } from '../kernel/spiffe-id.ts';
import { boolean, context, contextPrimitive, namedBits, octetString, oid, sequence, smallInteger } from './der.ts';

const GENERAL_NAME_DNS = 2;
const GENERAL_NAME_URI = 6;

const KEY_USAGE = oid('2.5.29.15');
const SUBJECT_ALT_NAME = oid('2.5.29.17');
const BASIC_CONSTRAINTS = oid('2.5.29.19');
const CRL_NUMBER = oid('2.5.29.20');
const NAME_CONSTRAINTS = oid('2.5.29.30');
const SUBJECT_KEY_ID = oid('2.5.29.14');
const AUTHORITY_KEY_ID = oid('2.5.29.35');
const EXTENDED_KEY_USAGE = oid('2.5.29.37');

const SERVER_AUTH = oid('1.3.6.1.5.5.7.3.1');
const CLIENT_AUTH = oid('1.3.6.1.5.5.7.3.2');

const DIGITAL_SIGNATURE = 0;
const KEY_ENCIPHERMENT = 2;
const KEY_CERT_SIGN = 5;
const CRL_SIGN = 6;

/** X509-SVID §4.1: `cA` false in a leaf. The empty SEQUENCE says so; some clients reject a leaf without the extension. */
export const LEAF_BASIC_CONSTRAINTS = critical(BASIC_CONSTRAINTS, sequence());

/** X509-SVID §4.4: both purposes, since every workload is client and server. */
export const LEAF_EXTENDED_KEY_USAGE = ordinary(EXTENDED_KEY_USAGE, sequence(SERVER_AUTH, CLIENT_AUTH));

export const EC_LEAF_KEY_USAGE = critical(KEY_USAGE, namedBits(DIGITAL_SIGNATURE));

/** RSA key exchange of TLS 1.2 encrypts with the leaf's key. */
export const RSA_LEAF_KEY_USAGE = critical(KEY_USAGE, namedBits(DIGITAL_SIGNATURE, KEY_ENCIPHERMENT));

export const CA_KEY_USAGE = critical(KEY_USAGE, namedBits(KEY_CERT_SIGN, CRL_SIGN));

/** @param pathLength how many CAs may follow below; `undefined` for any number */
export function caBasicConstraints(pathLength: number | undefined): Buffer {
  const length = pathLength === undefined ? [] : [smallInteger(pathLength)];
  return critical(BASIC_CONSTRAINTS, sequence(boolean(true), ...length));
}

/** Confines all SPIFFE IDs below to one trust domain (X509-SVID §4.2): the host of a URI, exactly (RFC 5280 §4.2.1.10). */
export function uriNameConstraint(trustDomain: TrustDomain): Buffer {
  const host = contextPrimitive(GENERAL_NAME_URI, ascii(trustDomain));
  return critical(NAME_CONSTRAINTS, sequence(context(0, sequence(host))));
}

/** The SPIFFE ID first: Linkerd takes the first SAN as the peer. */
export function subjectAltName(id: SpiffeId, dnsNames: readonly string[]): Buffer {
  const names = dnsNames.map((name) => contextPrimitive(GENERAL_NAME_DNS, ascii(name)));
  return ordinary(SUBJECT_ALT_NAME, sequence(contextPrimitive(GENERAL_NAME_URI, ascii(id)), ...names));
}

export function subjectKeyId(keyId: Buffer): Buffer {
  return ordinary(SUBJECT_KEY_ID, octetString(keyId));
}

export function authorityKeyId(keyId: Buffer): Buffer {
  return ordinary(AUTHORITY_KEY_ID, sequence(contextPrimitive(0, keyId)));
}

export function crlNumber(number: number): Buffer {
  return ordinary(CRL_NUMBER, smallInteger(number));
}

function critical(id: Buffer, value: Buffer): Buffer {
  return sequence(id, boolean(true), octetString(value));
}

function ordinary(id: Buffer, value: Buffer): Buffer {
  return sequence(id, octetString(value));
}

function ascii(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}
