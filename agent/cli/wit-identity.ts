import { decodeJwt } from 'jose/jwt/decode';
import type { WITSVIDResponse } from '../gen/workload_pb.js';
import { MayflyError } from '../kernel/errors.ts';
import type { SpiffeId } from '../kernel/spiffe-id.ts';
import { parseSpiffeId } from '../kernel/spiffe-id.ts';
import { thumbprintOf } from '../svid/jwk.ts';
import { formatUntil } from './moment.ts';
import { fields } from './output.ts';
import type { FileSet } from './svid-files.ts';

/** One WIT-SVID as a client holds it. */
export interface WitIdentity {
  readonly spiffeId: SpiffeId;
  /** `''` where the entry has none. */
  readonly hint: string;
  readonly token: string;
  /** A private JWK. Never printed: it is in a file or nowhere. */
  readonly key: string;
  readonly jti: string | undefined;
  readonly issuedAt: Date | undefined;
  readonly expiresAt: Date;
  /** Of the key that the token confirms. */
  readonly algorithm: string;
  /** RFC 7638. */
  readonly thumbprint: string;
}

export type WitIdentities = readonly [WitIdentity, ...WitIdentity[]];

/** Token and key of one WIT-SVID, both for their owner alone. */
export const WIT_FILES: FileSet<WitIdentity> = {
  mark: 'wit-',
  files: [
    { name: 'wit_svid.jwt', mode: 0o600, of: ({ token }) => `${token}\n` },
    { name: 'wit_svid_key.jwk', mode: 0o600, of: ({ key }) => `${key}\n` },
  ],
};

/**
 * Reads an answer of the Workload API. To be asked for a token is no reason to verify it; that the key is the one which it confirms is
 * looked at, since nothing could be done with the pair otherwise.
 *
 * @throws MayflyError `INTERNAL` when it is not what the standard says; `INVALID_SPIFFE_ID`
 */
export function readWitIdentities({ svids }: WITSVIDResponse): WitIdentities {
  const [first, ...rest] = svids.map(({ hint, spiffeId, witSvid: token, witSvidKey: key }): WitIdentity => {
    const { cnf, exp, iat, jti } = read(() => decodeJwt<{ readonly cnf?: { readonly jwk?: unknown } }>(token));
    const confirmed = keyIn(cnf?.jwk);
    const own = keyIn(read(() => JSON.parse(key)));
    if (exp === undefined || confirmed === undefined || confirmed.thumbprint !== own?.thumbprint) throw malformed();
    return {
      spiffeId: parseSpiffeId(spiffeId),
      hint,
      token,
      key,
      jti,
      issuedAt: iat === undefined ? undefined : new Date(iat * 1000),
      expiresAt: new Date(exp * 1000),
      ...confirmed,
    };
  });
  if (first === undefined) throw malformed();
  return [first, ...rest];
}

/** All of a WIT-SVID for people. @param now milliseconds since the epoch */
export function witLines(identity: WitIdentity, now: number): string[] {
  const { algorithm, expiresAt, hint, jti, spiffeId, thumbprint, token } = identity;
  return [
    spiffeId,
    ...fields([
      ['id', jti],
      ['valid until', formatUntil(expiresAt, now)],
      ['key', `${algorithm} ${thumbprint}`],
      ['hint', hint],
    ]),
    token,
  ];
}

export function witJson({ algorithm, expiresAt, hint, issuedAt, jti, spiffeId, thumbprint, token }: WitIdentity) {
  return {
    spiffe_id: spiffeId,
    hint,
    jti: jti ?? null,
    issued_at: issuedAt?.toISOString() ?? null,
    expires_at: expiresAt.toISOString(),
    key: { alg: algorithm, thumbprint },
    token,
  };
}

/** What tells one key from another; `undefined` for what is no public or private key of a kind that WIT-SVIDs confirm. */
function keyIn(jwk: unknown): Pick<WitIdentity, 'algorithm' | 'thumbprint'> | undefined {
  const { alg, crv, e, kty, n, x, y } = (jwk ?? {}) as Readonly<Record<string, unknown>>;
  const algorithm = typeof alg === 'string' ? alg : '';
  if (kty === 'EC' && typeof crv === 'string' && typeof x === 'string' && typeof y === 'string') {
    return { algorithm, thumbprint: thumbprintOf({ kty, crv, x, y }) };
  }
  if (kty === 'RSA' && typeof n === 'string' && typeof e === 'string') {
    return { algorithm, thumbprint: thumbprintOf({ kty, n, e }) };
  }
  return undefined;
}

/** The parser quotes what it found, which may be the key: its own error goes nowhere. */
function read<T>(parse: () => T): T {
  try {
    return parse();
  } catch {
    throw malformed();
  }
}

function malformed(): MayflyError {
  return new MayflyError('INTERNAL', 'the agent sent something that is no WIT-SVID with its key; look at its log');
}
