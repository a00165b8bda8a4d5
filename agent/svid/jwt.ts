import type { Audience } from '../kernel/audience.ts';
import type { TrustDomain } from '../kernel/spiffe-id.ts';
import type { TokenProfile, VerifiedToken } from './token.ts';
import { invalid, LEEWAY_S, verifyToken } from './token.ts';
import type { TrustBundle } from './trust-bundle.ts';

const PROFILE: TokenProfile = {
  name: 'JWT-SVID',
  // JWT-SVID §2.3.
  types: [undefined, 'JWT', 'JOSE'],
  otherType: 'a typ other than JWT and JOSE',
  authorities: ({ jwtAuthorities }) => jwtAuthorities,
};

/**
 * Verifies a JWT-SVID (JWT-SVID §4): what {@link verifyToken} looks at, `audience` among the audiences, and beyond that `iat` where it is
 * set. In the claims `aud` is always a list.
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
): Promise<VerifiedToken> {
  const verified = await verifyToken(token, PROFILE, bundles, now, audience);
  const { aud, iat } = verified.claims;
  if (typeof iat === 'number' && iat > now / 1000 + LEEWAY_S) throw invalid('token was issued in the future (iat)');
  return { ...verified, claims: { ...verified.claims, aud: typeof aud === 'string' ? [aud] : aud } };
}
