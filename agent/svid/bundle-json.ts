import { X509Certificate } from 'node:crypto';
import { MayflyError, messageOf } from '../kernel/errors.ts';
import type { TrustDomain } from '../kernel/spiffe-id.ts';
import type { PublicJwk } from './jwk.ts';
import { algorithmsOf, exposedMember, parsePublicJwk, publicJwkOf } from './jwk.ts';
import type { TokenAuthority, TrustBundle } from './trust-bundle.ts';

/** SPIFFE Trust Domain and Bundle §6.1: what a consumer assumes where the publisher does not say. */
const DEFAULT_REFRESH_HINT_S = 300;

type TokenUse = 'jwt-svid' | 'wit-svid';
type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Parses a bundle in SPIFFE bundle format (SPIFFE Trust Domain and Bundle §4). As the standard says, keys without a `use`, of an
 * unknown `use` or key type and X.509 entries without a certificate are left out, and what a bundle then has none of, it does not
 * vouch for. What is there and wrong refuses the whole bundle.
 *
 * @throws MayflyError `INVALID_BUNDLE`
 */
export function parseBundle(trustDomain: TrustDomain, text: string): TrustBundle {
  const fail = failureFor(`the bundle of ${trustDomain}`);
  const set = parseObject(text, fail);
  const { keys } = set;
  if (!Array.isArray(keys)) throw fail('has no list "keys"');

  const roots = new Map<string, Buffer>();
  const kids = new Set<string>();
  const authorities: Readonly<Record<TokenUse, TokenAuthority[]>> = { 'jwt-svid': [], 'wit-svid': [] };
  for (const [index, key] of keys.entries()) {
    const failHere = failureFor(`keys[${index}] of the bundle of ${trustDomain}`);
    if (!isObject(key)) throw failHere('is no object');
    const exposed = exposedMember(key);
    if (exposed !== undefined) {
      throw failHere(`has the private member "${exposed}"; a bundle is public: replace that key, it is known now`);
    }
    const { use } = key;
    if (use === 'x509-svid') {
      const root = parseRoot(trustDomain, key, failHere);
      if (root !== undefined) roots.set(root.toString('latin1'), root);
    } else if (use === 'jwt-svid' || use === 'wit-svid') {
      const authority = parseTokenAuthority(use, key, failHere);
      if (authority === undefined) continue;
      // WIT-SVID §6.1: not even a key of the other use may have it.
      if (kids.has(authority.kid)) throw failHere('has the kid of an earlier key');
      kids.add(authority.kid);
      authorities[use].push(authority);
    }
  }
  return Object.freeze({
    trustDomain,
    x509Authorities: Object.freeze([...roots.values()]),
    jwtAuthorities: Object.freeze(authorities['jwt-svid']),
    witAuthorities: Object.freeze(authorities['wit-svid']),
    sequence: parseCount(set, 'spiffe_sequence', 0, fail),
    refreshHint: parseCount(set, 'spiffe_refresh_hint', DEFAULT_REFRESH_HINT_S, fail),
  });
}

/** Writes a bundle in SPIFFE bundle format, for federation and for files. */
export function formatBundle(bundle: TrustBundle): string {
  const roots = bundle.x509Authorities.map((der) => ({
    ...publicJwkOf(new X509Certificate(der).publicKey),
    use: 'x509-svid',
    x5c: [der.toString('base64')],
  }));
  const jwtAuthorities = bundle.jwtAuthorities.map(({ jwk }) => ({ ...jwk, use: 'jwt-svid' }));
  const witAuthorities = bundle.witAuthorities.map(({ jwk }) => ({ ...jwk, use: 'wit-svid' }));
  const set = {
    keys: [...roots, ...jwtAuthorities, ...witAuthorities],
    spiffe_sequence: bundle.sequence,
    spiffe_refresh_hint: bundle.refreshHint,
  };
  return `${JSON.stringify(set, undefined, 2)}\n`;
}

type Fail = (problem: string, cause?: unknown) => MayflyError;

function failureFor(place: string): Fail {
  return (problem, cause) => new MayflyError('INVALID_BUNDLE', `${place} ${problem}`, { cause });
}

function parseObject(text: string, fail: Fail): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    // The parser quotes what it found, and somebody may have pasted a private key: only the place is told.
    const place = /line \d+ column \d+/.exec(messageOf(cause))?.[0];
    throw fail(place === undefined ? 'is no JSON' : `is no JSON at ${place}`);
  }
  if (!isObject(value)) throw fail('is no JSON object');
  return value;
}

function parseRoot(trustDomain: TrustDomain, key: JsonObject, fail: Fail): Buffer | undefined {
  const { x5c } = key;
  if (x5c === undefined || (Array.isArray(x5c) && x5c.length === 0)) return undefined;
  // X509-SVID §6.2: all but the first are ignored.
  const text: unknown = Array.isArray(x5c) ? x5c[0] : undefined;
  const der = typeof text === 'string' ? Buffer.from(text, 'base64') : undefined;
  if (der === undefined || der.toString('base64') !== text) throw fail('has an x5c that is no list of base64 texts');
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(der);
  } catch (cause) {
    throw fail('has an x5c that is no X.509 certificate', cause);
  }
  if (!certificate.raw.equals(der)) throw fail('has an x5c with something other than one DER certificate');
  if (!certificate.ca) throw fail('has a certificate of no CA: it could vouch for nothing');
  const named = trustDomainOf(certificate);
  if (named !== undefined && named !== trustDomain) {
    throw fail(
      `has a root of ${named}, and would let it issue identities of ${trustDomain}; use the bundle of ${trustDomain}`,
    );
  }
  return der;
}

/**
 * A bundle does not say whose it is, and with two files mixed up one trust domain could issue the identities of another. A CA's SPIFFE
 * ID should be that of the trust domain that it issues for (X509-SVID §3.2); many roots have none and tell nothing.
 */
function trustDomainOf({ subjectAltName }: X509Certificate): string | undefined {
  return /(?:^|, )URI:"?spiffe:\/\/([^/,"]+)/i.exec(subjectAltName ?? '')?.[1]?.toLowerCase();
}

function parseTokenAuthority(use: TokenUse, key: JsonObject, fail: Fail): TokenAuthority | undefined {
  const { kty, kid, alg } = key;
  if (typeof kty !== 'string') throw fail('has no kty');
  if (typeof kid !== 'string' || kid === '') throw fail(`has no kid, which a ${use} key must have`);
  const jwk = publicJwkIn(key, fail);
  const algorithms = jwk === undefined ? [] : algorithmsOf(jwk);
  if (jwk === undefined || algorithms.length === 0) return undefined;
  if (alg !== undefined && (typeof alg !== 'string' || !algorithms.includes(alg))) {
    throw fail(`has an alg that its key cannot have; allowed are ${algorithms.join(', ')}`);
  }
  return Object.freeze({
    kid,
    jwk: Object.freeze({ ...jwk, kid, ...(alg === undefined ? {} : { alg }) }),
    expiresAt: undefined,
  });
}

function publicJwkIn(key: JsonObject, fail: Fail): PublicJwk | undefined {
  try {
    return parsePublicJwk(key);
  } catch (cause) {
    throw fail(messageOf(cause), cause);
  }
}

function parseCount(set: JsonObject, name: string, absent: number, fail: Fail): number {
  const value = set[name];
  if (value === undefined) return absent;
  // Sequences above 2^53 lose their last digits here; they only tell one bundle from another.
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0)
    throw fail(`has a ${name} that is no whole number`);
  return value;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
