import { decodeProtectedHeader } from 'jose/decode/protected_header';
import * as jose from 'jose/errors';
import { decodeJwt } from 'jose/jwt/decode';
import { jwtVerify } from 'jose/jwt/verify';
import { MayflyError } from '../kernel/errors.ts';
import type { SpiffeId, TrustDomain } from '../kernel/spiffe-id.ts';
import { parseSpiffeId, trustDomainOf } from '../kernel/spiffe-id.ts';
import { algorithmsOf, TOKEN_ALGORITHMS } from './jwk.ts';
import type { TokenAuthority, TrustBundle } from './trust-bundle.ts';

/** What tells one kind of token from another. */
export interface TokenProfile {
  readonly name: 'JWT-SVID' | 'WIT-SVID';
  /** The values that `typ` may have; `undefined` among them where it may be left out. */
  readonly types: readonly (string | undefined)[];
  /** What a token with another `typ` has, such that "token has …" reads well. */
  readonly otherType: string;
  /** The keys of a trust domain that sign tokens of this kind: a key of another kind verifies nothing here. */
  readonly authorities: (bundle: TrustBundle) => readonly TokenAuthority[];
}

/** A token whose signature and times hold. */
export interface VerifiedToken {
  readonly id: SpiffeId;
  readonly kid: string;
  /** `undefined` where the issuer sets none. */
  readonly jti: string | undefined;
  /** All claims as they stand in the token. */
  readonly claims: Readonly<Record<string, unknown>>;
}

interface Unverified {
  readonly kid: string;
  readonly alg: string;
  readonly id: SpiffeId;
}

const MAX_TOKEN_BYTES = 16 * 1024;
/** How far the clocks of issuer and verifier may differ. */
export const LEEWAY_S = 60;

/**
 * Verifies what all kinds of tokens have in common: a permitted algorithm, the kind's own `typ`, a key of the subject's own trust domain
 * by `kid`, the signature, `exp`, and `nbf` where it is set. Clocks may differ by a minute.
 *
 * @param bundles the trust domains that are believed, the own one included
 * @param now milliseconds since the epoch
 * @param audience that has to be among the token's; `undefined` where the kind has none
 * @throws MayflyError `TOKEN_INVALID` with the reason; nothing of the token is in the message but names of algorithm and trust domain
 */
export async function verifyToken(
  token: string,
  profile: TokenProfile,
  bundles: ReadonlyMap<TrustDomain, TrustBundle>,
  now: number,
  audience?: string,
): Promise<VerifiedToken> {
  const { alg, id, kid } = read(token, profile);
  const authority = authorityOf({ alg, id, kid }, profile, bundles);
  const claims = await verify(token, authority, alg, now, audience);
  return { id, kid, jti: typeof claims['jti'] === 'string' ? claims['jti'] : undefined, claims };
}

/** Reads what chooses the key. Nothing of it is believed yet; the same bytes are read again once the signature holds. */
function read(token: string, { name, otherType, types }: TokenProfile): Unverified {
  if (token.length > MAX_TOKEN_BYTES) throw invalid(`token is longer than ${MAX_TOKEN_BYTES} bytes`);
  let header: ReturnType<typeof decodeProtectedHeader>;
  let claims: ReturnType<typeof decodeJwt>;
  try {
    mustBeBase64url(token);
    header = decodeProtectedHeader(token);
    claims = decodeJwt(token);
  } catch (cause) {
    throw invalid('token is no JWS in compact serialization with a JSON header and claims', cause);
  }
  const { alg, typ, kid } = header;
  if (typeof alg !== 'string' || !TOKEN_ALGORITHMS.includes(alg)) {
    throw invalid(`token has ${nameOf(alg)}; ${name} allows ${TOKEN_ALGORITHMS.join(', ')}`);
  }
  if (!types.includes(typ)) throw invalid(`token has ${otherType}`);
  // Optional in JWT-SVID §2.2, but bundles hold several keys, and to try them all is what an attacker would ask for.
  if (typeof kid !== 'string' || kid === '') throw invalid('token has no kid in its header');
  return { kid, alg, id: subjectOf(claims.sub) };
}

/**
 * RFC 7515 §2: without padding, white space or other characters, and (RFC 4648 §3.5) without bits that say nothing; jose passes over them.
 * Of one token there is one text, whoever keeps a list of texts.
 */
function mustBeBase64url(token: string): void {
  for (const part of token.split('.')) {
    if (Buffer.from(part, 'base64url').toString('base64url') !== part) throw new Error('a part is no base64url');
  }
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
function authorityOf(
  unverified: Unverified,
  { authorities }: TokenProfile,
  bundles: ReadonlyMap<TrustDomain, TrustBundle>,
): TokenAuthority {
  const trustDomain = trustDomainOf(unverified.id);
  const bundle = bundles.get(trustDomain);
  if (bundle === undefined) throw invalid(`token is of trust domain ${trustDomain}, whose bundle is not known here`);
  const authority = authorities(bundle).find(({ kid }) => kid === unverified.kid);
  if (authority === undefined) throw invalid(`token has a kid that is not in the bundle of ${trustDomain}`);
  const allowed = authority.jwk.alg === undefined ? algorithmsOf(authority.jwk) : [authority.jwk.alg];
  if (!allowed.includes(unverified.alg)) {
    throw invalid(`token has ${nameOf(unverified.alg)}, but its key is for ${allowed.join(', ')}`);
  }
  return authority;
}

async function verify(
  token: string,
  authority: TokenAuthority,
  alg: string,
  now: number,
  audience: string | undefined,
): Promise<Record<string, unknown>> {
  try {
    // jose keeps what it makes of a JWK object as long as that object lives: one import for each key of a bundle.
    const { payload } = await jwtVerify<Record<string, unknown>>(token, authority.jwk, {
      algorithms: [alg],
      clockTolerance: LEEWAY_S,
      currentDate: new Date(now),
      requiredClaims: ['exp'],
      ...(audience !== undefined && { audience }),
    });
    // JSON has numbers that are infinite once parsed, and infinity never passes.
    if (!Number.isSafeInteger(Math.trunc(payload.exp ?? Number.NaN))) throw invalid('token has a malformed exp');
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
export function nameOf(alg: unknown): string {
  if (typeof alg !== 'string') return 'no algorithm';
  return /^[A-Za-z0-9-]{1,16}$/.test(alg) ? `the algorithm ${alg}` : 'an unknown algorithm';
}

export function invalid(reason: string, cause?: unknown): MayflyError {
  return new MayflyError('TOKEN_INVALID', reason, { cause });
}
