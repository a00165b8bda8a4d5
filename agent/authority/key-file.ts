import type { KeyObject } from 'node:crypto';
import { createPrivateKey, hash, X509Certificate } from 'node:crypto';
import * as v from 'valibot';
import type { TrustDomain } from '../kernel/spiffe-id.ts';
import type { SigningKey } from '../svid/signing-key.ts';
import { signingKeyOf } from '../svid/signing-key.ts';
import type { IssuingKey, RootKey, TokenKey } from './keys.ts';
import { idOf, issuerOf, tokenKeyOf } from './keys.ts';

/** All the keys of a local authority, each line in the order in which its keys were made. Immutable. */
export interface Keys {
  /** The bundle's `spiffe_sequence`. */
  readonly sequence: number;
  readonly roots: readonly RootKey[];
  readonly issuing: readonly IssuingKey[];
  readonly jwt: readonly TokenKey[];
  readonly wit: readonly TokenKey[];
}

const FORMAT = 'mayfly-authority';
const VERSION = 1;

const base64 = v.pipe(v.string(), v.base64());
const milliseconds = v.pipe(v.number(), v.safeInteger());
const tokenKeys = v.array(
  v.strictObject({ key: base64, created_at: milliseconds, not_after: milliseconds, activated: v.boolean() }),
);
const content = v.strictObject({
  sequence: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  roots: v.array(
    v.strictObject({ certificate: base64, key: base64, created_at: milliseconds, activated: v.boolean() }),
  ),
  issuing_cas: v.array(
    v.strictObject({
      certificate: base64,
      key: base64,
      created_at: milliseconds,
      name_constraint: v.boolean(),
      // Absent of one that signs or has signed: every file was written so before issuing CAs were prepared.
      activated: v.optional(v.boolean(), true),
    }),
  ),
  jwt_keys: tokenKeys,
  // Absent where there are none: every file was written so before there were WIT-SVIDs.
  wit_keys: v.optional(tokenKeys, []),
});
const file = v.strictObject({
  format: v.literal(FORMAT),
  version: v.literal(VERSION),
  trust_domain: v.string(),
  sha256: v.string(),
  content: v.unknown(),
});
// What other programs and later versions may have written: anything, or nothing.
const header = v.object({
  format: v.optional(v.unknown()),
  version: v.optional(v.unknown()),
  trust_domain: v.optional(v.unknown()),
});

/** Writes the keys as the file holds them, private keys included. */
export function formatKeys(trustDomain: TrustDomain, keys: Keys): string {
  const written: v.InferInput<typeof content> = {
    sequence: keys.sequence,
    roots: keys.roots.map((root) => ({ ...formatCa(root), activated: root.activated })),
    issuing_cas: keys.issuing.map((ca) => ({
      ...formatCa(ca),
      name_constraint: ca.nameConstraint,
      ...(!ca.activated && { activated: false }),
    })),
    jwt_keys: keys.jwt.map(formatTokenKey),
    ...(keys.wit.length > 0 && { wit_keys: keys.wit.map(formatTokenKey) }),
  };
  const outer = { format: FORMAT, version: VERSION, trust_domain: trustDomain, sha256: digestOf(written) };
  return `${JSON.stringify({ ...outer, content: written }, undefined, 2)}\n`;
}

/**
 * Reads the keys back.
 *
 * @throws Error whose message says what is wrong with the text, in words that go behind the file's name, and shows nothing of it
 */
export function parseKeys(trustDomain: TrustDomain, text: string): Keys {
  const value = parseJson(text);
  mustBeOurs(value, trustDomain);
  const outer = v.safeParse(file, value);
  if (!outer.success) throw new Error('is damaged: it has other members than it was written with');
  // A turned bit in a base64 text may still be a key, and a different one.
  if (outer.output.sha256 !== digestOf(outer.output.content)) throw new Error('is damaged: its checksum does not fit');
  const inner = v.safeParse(content, outer.output.content);
  if (!inner.success) throw new Error('is damaged: it has other members than it was written with');
  const { sequence, roots, issuing_cas: issuing, jwt_keys: jwt, wit_keys: wit } = inner.output;
  return {
    sequence,
    roots: roots.map((root) => ({ ...parseCa('root', root), activated: root.activated })),
    issuing: issuing.map((ca) => ({
      ...parseCa('issuing CA', ca),
      activated: ca.activated,
      nameConstraint: ca.name_constraint,
    })),
    jwt: jwt.map(parseTokenKey),
    wit: wit.map(parseTokenKey),
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not the parser's own message, which quotes what it found: that may be a key.
    throw new Error('is damaged: it is no JSON');
  }
}

/** Told apart from damage, because the remedy is another: the file is whole, and somebody else's. */
function mustBeOurs(value: unknown, trustDomain: TrustDomain): void {
  const read = v.safeParse(header, value);
  if (!read.success || read.output.format !== FORMAT) throw new Error('is no key file of this agent');
  const { version, trust_domain: found } = read.output;
  if (version !== VERSION) {
    throw new Error(`has format version ${JSON.stringify(version)}, and this agent knows ${VERSION} alone`);
  }
  if (found !== trustDomain) {
    throw new Error(
      `holds the keys of trust domain ${JSON.stringify(found)}, not of ${trustDomain}; give each trust domain a data_dir of its own`,
    );
  }
}

function formatCa(ca: RootKey | IssuingKey) {
  return {
    certificate: ca.certificate.toString('base64'),
    key: formatPrivateKey(ca.issuer.key),
    created_at: ca.createdAt,
  };
}

function parseCa(role: 'root' | 'issuing CA', written: { certificate: string; key: string; created_at: number }) {
  const certificate = new X509Certificate(Buffer.from(written.certificate, 'base64'));
  const key = parsePrivateKey(written.key);
  if (!certificate.checkPrivateKey(key.privateKey)) throw new Error(`has a ${role} whose key is another's`);
  const issuer = issuerOf(role, key);
  return {
    id: idOf(issuer),
    createdAt: written.created_at,
    notBefore: certificate.validFromDate.getTime(),
    notAfter: certificate.validToDate.getTime(),
    certificate: certificate.raw,
    issuer,
  };
}

function formatTokenKey({ key, createdAt, notAfter, activated }: TokenKey): v.InferInput<typeof tokenKeys>[number] {
  return { key: formatPrivateKey(key), created_at: createdAt, not_after: notAfter, activated };
}

function parseTokenKey(written: v.InferOutput<typeof tokenKeys>[number]): TokenKey {
  const { activated, created_at: createdAt, key, not_after: notAfter } = written;
  return tokenKeyOf(parsePrivateKey(key), { createdAt, notAfter, activated });
}

function formatPrivateKey(key: SigningKey): string {
  return key.privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64');
}

function parsePrivateKey(text: string): SigningKey {
  const key: KeyObject = createPrivateKey({ key: Buffer.from(text, 'base64'), type: 'pkcs8', format: 'der' });
  const signingKey = signingKeyOf(key);
  if (signingKey === undefined) throw new Error('has a key of a type that signs nothing here');
  return signingKey;
}

function digestOf(written: unknown): string {
  return hash('sha256', JSON.stringify(written), 'hex');
}
