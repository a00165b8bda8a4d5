import type { TrustDomain } from '../kernel/spiffe-id.ts';
import type { ConfirmationKey, PublicJwk } from './jwk.ts';
import { algorithmsOf, exposedMember, parsePublicJwk, TOKEN_ALGORITHMS } from './jwk.ts';
import type { TokenProfile, VerifiedToken } from './token.ts';
import { invalid, nameOf, verifyToken } from './token.ts';
import type { TrustBundle } from './trust-bundle.ts';

/** A WIT-SVID whose signature and times hold. Who presents it has proven nothing yet. */
export interface VerifiedWitSvid extends VerifiedToken {
  /** Whoever presents the token has to prove that they have the private half of this key. */
  readonly confirmation: ConfirmationKey;
}

type Json = Readonly<Record<string, unknown>>;

const PROFILE: TokenProfile = {
  name: 'WIT-SVID',
  // WIT-SVID §2.2: the one thing that keeps a token for one use from being taken for another.
  types: ['wit+jwt'],
  otherType: 'a typ other than wit+jwt',
  authorities: ({ witAuthorities }) => witAuthorities,
};

// RFC 7800 §3: a token confirms one key, and these are the other ways to say which.
const OTHER_CONFIRMATIONS = ['jwe', 'jku'];

/**
 * Verifies a WIT-SVID but for the proof of possession, which only the one can ask for to whom it is presented (WIT-SVID §4): what
 * {@link verifyToken} looks at; that it is for no audience (§3.8); and that it confirms exactly one public key with an algorithm of §3.2.
 * `iat` limits nothing (§3.6).
 *
 * @param bundles the trust domains that are believed, the own one included
 * @param now milliseconds since the epoch
 * @throws MayflyError `TOKEN_INVALID` with the reason; nothing of the token is in the message but names of algorithm and trust domain
 */
export async function verifyWitSvid(
  token: string,
  bundles: ReadonlyMap<TrustDomain, TrustBundle>,
  now: number,
): Promise<VerifiedWitSvid> {
  const verified = await verifyToken(token, PROFILE, bundles, now);
  if (verified.claims['aud'] !== undefined) throw invalid('token has an aud, which no WIT-SVID has');
  return { ...verified, confirmation: confirmationIn(verified.claims['cnf']) };
}

function confirmationIn(cnf: unknown): ConfirmationKey {
  if (cnf === undefined) throw invalid('token has no cnf');
  if (!isObject(cnf)) throw invalid('token has a malformed cnf');
  const { jwk } = cnf;
  if (jwk === undefined) throw invalid('token has a cnf without jwk');
  if (!isObject(jwk)) throw invalid('token has a malformed cnf.jwk');
  const other = OTHER_CONFIRMATIONS.find((method) => cnf[method] !== undefined);
  if (other !== undefined) throw invalid(`token has ${other} beside jwk in its cnf, which may confirm one key alone`);
  const { alg } = jwk;
  if (typeof alg !== 'string' || !TOKEN_ALGORITHMS.includes(alg)) {
    throw invalid(`token has a cnf.jwk with ${nameOf(alg)}; WIT-SVID allows ${TOKEN_ALGORITHMS.join(', ')}`);
  }
  if (exposedMember(jwk) !== undefined) {
    throw invalid('token has a private key in its cnf.jwk: whoever has seen the token has that key');
  }
  const key = publicJwkIn(jwk);
  const allowed = algorithmsOf(key);
  if (!allowed.includes(alg)) {
    throw invalid(`token has a cnf.jwk with ${nameOf(alg)}, but its key is for ${allowed.join(', ')}`);
  }
  return { ...key, alg };
}

function publicJwkIn(jwk: Json): PublicJwk {
  let key: PublicJwk | undefined;
  try {
    key = parsePublicJwk(jwk);
  } catch (cause) {
    throw invalid('token has no usable public key in its cnf.jwk', cause);
  }
  if (key === undefined) throw invalid('token has a cnf.jwk of an unknown key type or curve');
  return key;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
