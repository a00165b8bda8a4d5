import { decodeProtectedHeader } from 'jose/decode/protected_header';
import * as jose from 'jose/errors';
import { decodeJwt } from 'jose/jwt/decode';
import { jwtVerify } from 'jose/jwt/verify';
import type { Audience } from '../kernel/audience.ts';
import { MayflyError } from '../kernel/errors.ts';
import type { SpiffeId, TrustDomain } from '../kernel/spiffe-id.ts';
import { parseSpiffeId, trustDomainOf } from '../kernel/spiffe-id.ts';
import { algorithmsOf, JWT_SVID_ALGORITHMS } from './jwk.ts';
import type { JwtAuthority, TrustBundle } from './trust-bundle.ts';

/** A token whose signature, times and audience hold. */
export interface VerifiedJwtSvid {
  readonly id: SpiffeId;
  readonly kid: string;
  /** `undefined` where the issuer sets none. */
  readonly jti: string | undefined;
  /** All claims as they stand in the token, but `aud` always as a list. */
  readonly claims: Readonly<Record<string, unknown>>;
}

interface Unverified {
  readonly kid: string;
  readonly alg: string;
  readonly id: SpiffeId;
}

const MAX_TOKEN_BYTES = 16 * 1024;
/** How far the clocks of issuer and verifier may differ. */
const LEEWAY_S = 60;

/**
 * Verifies a JWT-SVID (JWT-SVID §4): a permitted algorithm, a key of the subject's own trust domain by `kid`, the signature, `exp`,
 * and `audience` among the audiences; beyond that `nbf` and `iat` where they are set. Clocks may differ by a minute.
 *
 * @param bundles the trust domains that are believed, the own one included
 * @param now milliseconds since the epoch
 * @throws MayflyError `TOKEN_INVALID` with the reason; nothing of the token is in the message but names of algorithm and trust domain
 */
export async function verifyJwtSvid(
  token: string,
  audience: Audience,
  bundles: ReadonlyMap<TrustDomain, TrustBundle>,
  now: number,
): Promise<VerifiedJwtSvid> {
  const unverified = read(token);
  const authority = authorityOf(unverified, bundles);
  const claims = await verify(token, authority, unverified.alg, audience, now);
  const aud = typeof claims['aud'] === 'string' ? [claims['aud']] : claims['aud'];
  const jti = typeof claims['jti'] === 'string' ? claims['jti'] : undefined;
  return { id: unverified.id, kid: unverified.kid, jti, claims: { ...claims, aud } };
}

/** Reads what chooses the key. Nothing of it is believed yet; the same bytes are read again once the signature holds. */
function read(token: string): Unverified {
  if (token.length > MAX_TOKEN_BYTES) throw invalid(`token is longer than ${MAX_TOKEN_BYTES} bytes`);
  let header: ReturnType<typeof decodeProtectedHeader>;
  let claims: ReturnType<typeof decodeJwt>;
  try {
    header = decodeProtectedHeader(token);
    claims = decodeJwt(token);
  } catch (cause) {
    throw invalid('token is no JWS in compact serialization with a JSON header and claims', cause);
  }
  const { alg, typ, kid } = header;
  if (typeof alg !== 'string' || !JWT_SVID_ALGORITHMS.includes(alg)) {
    throw invalid(`token has ${nameOf(alg)}; JWT-SVID allows ${JWT_SVID_ALGORITHMS.join(', ')}`);
  }
  if (typ !== undefined && typ !== 'JWT' && typ !== 'JOSE') throw invalid('token has a typ other than JWT and JOSE');
  // Optional in JWT-SVID §2.2, but bundles hold several keys, and to try them all is what an attacker would ask for.
  if (typeof kid !== 'string' || kid === '') throw invalid('token has no kid in its header');
  return { kid, alg, id: subjectOf(claims.sub) };
}

function subjectOf(sub: unknown): SpiffeId {
  if (sub === undefined) throw invalid('token has no sub');
  try {
    return parseSpiffeId(typeof sub === 'string' ? sub : '');
  } catch (cause) {
    throw invalid('token has a sub that is no SPIFFE ID', cause);
  }
}

/** Only the keys of the subject's own trust domain count: another domain's key may not speak for it. */
function authorityOf(unverified: Unverified, bundles: ReadonlyMap<TrustDomain, TrustBundle>): JwtAuthority {
  const trustDomain = trustDomainOf(unverified.id);
  const bundle = bundles.get(trustDomain);
  if (bundle === undefined) throw invalid(`token is of trust domain ${trustDomain}, whose bundle is not known here`);
  const authority = bundle.jwtAuthorities.find(({ kid }) => kid === unverified.kid);
  if (authority === undefined) throw invalid(`token has a kid that is not in the bundle of ${trustDomain}`);
  const allowed = authority.jwk.alg === undefined ? algorithmsOf(authority.jwk) : [authority.jwk.alg];
  if (!allowed.includes(unverified.alg)) {
    throw invalid(`token has ${nameOf(unverified.alg)}, but its key is for ${allowed.join(', ')}`);
  }
  return authority;
}

async function verify(token: string, authority: JwtAuthority, alg: string, audience: Audience, now: number) {
  try {
    // jose keeps what it makes of a JWK object as long as that object lives: one import for each key of a bundle.
    const { payload } = await jwtVerify<Record<string, unknown>>(token, authority.jwk, {
      algorithms: [alg],
      audience,
      clockTolerance: LEEWAY_S,
      currentDate: new Date(now),
      requiredClaims: ['exp'],
    });
    const { exp, iat } = payload;
    // JSON has numbers that are infinite once parsed, and infinity never passes.
    if (!Number.isSafeInteger(Math.trunc(exp ?? Number.NaN))) throw invalid('token has a malformed exp');
    if (typeof iat === 'number' && iat > now / 1000 + LEEWAY_S) throw invalid('token was issued in the future (iat)');
    return payload;
  } catch (error) {
    throw error instanceof jose.JOSEError ? invalid(reasonOf(error), error) : error;
  }
}

function reasonOf(error: jose.JOSEError): string {
  if (error instanceof jose.JWSSignatureVerificationFailed) return 'token has a signature that does not verify';
  if (error instanceof jose.JWTExpired) return 'token has expired (exp)';
  if (error instanceof jose.JWTClaimValidationFailed) {
    if (error.reason === 'missing') return `token has no ${error.claim}`;
    if (error.reason === 'invalid') return `token has a malformed ${error.claim}`;
    if (error.claim === 'nbf') return 'token is not valid yet (nbf)';
    if (error.claim === 'aud') return 'token is for another audience';
  }
  return 'token is malformed';
}

/** An algorithm's name comes from a stranger and goes to logs: shown only where it looks like one. */
function nameOf(alg: unknown): string {
  if (typeof alg !== 'string') return 'no algorithm';
  return /^[A-Za-z0-9-]{1,16}$/.test(alg) ? `the algorithm ${alg}` : 'an unknown algorithm';
}

function invalid(reason: string, cause?: unknown): MayflyError {
  return new MayflyError('TOKEN_INVALID', reason, { cause });
}
