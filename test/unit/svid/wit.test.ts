import { readdirSync, readFileSync } from 'node:fs';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { describe, expect, test } from 'vitest';
import { parseAudience, parseAudiences } from '../../../agent/kernel/audience.ts';
import { MayflyError } from '../../../agent/kernel/errors.ts';
import { parseSpiffeId, parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import { parseBundle } from '../../../agent/svid/bundle-json.ts';
import type { ConfirmationKey } from '../../../agent/svid/jwk.ts';
import { publicJwkOf } from '../../../agent/svid/jwk.ts';
import { verifyJwtSvid } from '../../../agent/svid/jwt.ts';
import { JwtSigner } from '../../../agent/svid/jwt-signer.ts';
import type { SigningKey, SigningKeyType } from '../../../agent/svid/signing-key.ts';
import { generateSigningKey } from '../../../agent/svid/signing-key.ts';
import type { TrustBundle } from '../../../agent/svid/trust-bundle.ts';
import { verifyWitSvid } from '../../../agent/svid/wit.ts';
import { WitSigner } from '../../../agent/svid/wit-signer.ts';

const NOW = Date.UTC(2026, 0, 1);
const REPORTS = parseAudience('spiffe://example.org/reports');
const example = parseTrustDomain('example.org');
const other = parseTrustDomain('other.test');
const vectors = new URL('../../vectors/wit/', import.meta.url);
const frozen = parseBundle(example, readFileSync(new URL('bundle.json', vectors), 'utf8'));
const bundles = new Map([[example, frozen]]);

function vector(name: string): string {
  return readFileSync(new URL(`${name}.jwt`, vectors), 'utf8');
}

const ALGORITHMS = 'RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512';
const MALFORMED = 'token is no JWS in compact serialization with a JSON header and claims';
const SIGNATURE = 'token has a signature that does not verify';
const TYP = 'token has a typ other than wit+jwt';
const KID = 'token has no kid in its header';
const OTHER_KID = 'token has a kid that is not in the bundle of example.org';
const DEFECTS: Readonly<Record<string, string>> = {
  'alg-none': `token has the algorithm none; WIT-SVID allows ${ALGORITHMS}`,
  'alg-missing': `token has no algorithm; WIT-SVID allows ${ALGORITHMS}`,
  'alg-hs256': `token has the algorithm HS256; WIT-SVID allows ${ALGORITHMS}`,
  'alg-eddsa': `token has the algorithm EdDSA; WIT-SVID allows ${ALGORITHMS}`,
  'alg-of-another-curve': 'token has the algorithm ES384, but its key is for ES256',
  'alg-of-another-key-type': 'token has the algorithm RS256, but its key is for ES256',
  'typ-missing': TYP,
  'typ-jwt': TYP,
  'typ-with-application': TYP,
  'typ-in-capitals': TYP,
  'crit-unknown': 'token is malformed',
  'kid-missing': KID,
  'kid-empty': KID,
  'kid-number': KID,
  'kid-unknown': OTHER_KID,
  'kid-in-capitals': OTHER_KID,
  'signed-by-a-jwt-key': OTHER_KID,
  'foreign-domain': 'token is of trust domain other.test, whose bundle is not known here',
  'sub-missing': 'token has no sub',
  'sub-number': 'token has a sub that is no SPIFFE ID',
  'sub-no-spiffe-id': 'token has a sub that is no SPIFFE ID',
  'exp-missing': 'token has no exp',
  'exp-text': 'token has a malformed exp',
  expired: 'token has expired (exp)',
  'not-yet-valid': 'token is not valid yet (nbf)',
  'nbf-text': 'token has a malformed nbf',
  'aud-present': 'token has an aud, which no WIT-SVID has',
  'aud-null': 'token has an aud, which no WIT-SVID has',
  'cnf-missing': 'token has no cnf',
  'cnf-text': 'token has a malformed cnf',
  'cnf-null': 'token has a malformed cnf',
  'cnf-a-list': 'token has a malformed cnf',
  'cnf-without-jwk': 'token has a cnf without jwk',
  'cnf-with-jku-too': 'token has jku beside jwk in its cnf, which may confirm one key alone',
  'cnf-with-jwe-too': 'token has jwe beside jwk in its cnf, which may confirm one key alone',
  'cnf-jwk-text': 'token has a malformed cnf.jwk',
  'cnf-jwk-alg-missing': `token has a cnf.jwk with no algorithm; WIT-SVID allows ${ALGORITHMS}`,
  'cnf-jwk-alg-none': `token has a cnf.jwk with the algorithm none; WIT-SVID allows ${ALGORITHMS}`,
  'cnf-jwk-alg-hs256': `token has a cnf.jwk with the algorithm HS256; WIT-SVID allows ${ALGORITHMS}`,
  'cnf-jwk-alg-eddsa': `token has a cnf.jwk with the algorithm EdDSA; WIT-SVID allows ${ALGORITHMS}`,
  'cnf-jwk-alg-of-another-curve': 'token has a cnf.jwk with the algorithm ES384, but its key is for ES256',
  'cnf-jwk-alg-of-another-key-type': 'token has a cnf.jwk with the algorithm RS256, but its key is for ES256',
  'cnf-jwk-symmetric': 'token has a cnf.jwk of an unknown key type or curve',
  'cnf-jwk-private': 'token has a private key in its cnf.jwk: whoever has seen the token has that key',
  'cnf-jwk-off-its-curve': 'token has no usable public key in its cnf.jwk',
  'cnf-jwk-without-y': 'token has no usable public key in its cnf.jwk',
  'cnf-jwk-rsa-1024': 'token has no usable public key in its cnf.jwk',
  'cnf-jwk-of-an-unknown-curve': 'token has a cnf.jwk of an unknown key type or curve',
  'signature-bit-turned': SIGNATURE,
  'signature-missing': SIGNATURE,
  'signature-der': SIGNATURE,
  'claims-bit-turned': SIGNATURE,
  'claims-not-json': MALFORMED,
  'header-not-json': MALFORMED,
  'two-parts': MALFORMED,
  'json-serialization': MALFORMED,
  'longer-than-16-kib': 'token is longer than 16384 bytes',
};

describe('verification', () => {
  const names = readdirSync(vectors)
    .filter((name) => name.endsWith('.jwt'))
    .map((name) => name.slice(0, -'.jwt'.length));
  const valid = names.filter((name) => name.startsWith('valid'));

  test('every vector is judged here', () => {
    expect(names.filter((name) => !name.startsWith('valid')).toSorted()).toEqual(Object.keys(DEFECTS).toSorted());
    expect(valid).toHaveLength(11);
  });

  test.each(valid)('accepts %s, and says which key has to be proven', async (name) => {
    const verified = await verifyWitSvid(vector(name), bundles, NOW);
    expect(verified).toMatchObject({
      id: 'spiffe://example.org/payments',
      kid: name.includes('s256') ? 'wit-rsa' : 'wit-ec',
      jti: name.includes('jti') ? undefined : '00112233445566778899aabbccddeeff',
      claims: { sub: 'spiffe://example.org/payments', cnf: { jwk: verified.confirmation } },
    });
    const { alg, kty } = verified.confirmation;
    expect([kty, alg]).toEqual(name.includes('rsa-ps') ? ['RSA', 'PS512'] : ['EC', alg === 'ES384' ? alg : 'ES256']);
  });

  test.each(Object.entries(DEFECTS))('refuses %s: %s', async (name, message) => {
    const token = vector(name);
    const error = await verifyWitSvid(token, bundles, NOW).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(MayflyError);
    expect(error).toMatchObject({ code: 'TOKEN_INVALID', message });
    for (const part of token.split('.').filter((each) => each !== '')) {
      expect((error as Error).message).not.toContain(part);
    }
  });

  test('refuses every token with a bit turned, whichever character it is in', async () => {
    const token = vector('valid');
    let refused = 0;
    for (let at = 0; at < token.length; at++) {
      const turned = `${token.slice(0, at)}${String.fromCharCode(token.charCodeAt(at) ^ 1)}${token.slice(at + 1)}`;
      await expect(verifyWitSvid(turned, bundles, NOW)).rejects.toMatchObject({ code: 'TOKEN_INVALID' });
      refused += 1;
    }
    expect(refused).toBe(token.length);
  });

  test("does not let one trust domain's key speak for another", async () => {
    const both = new Map([...bundles, [other, { ...frozen, trustDomain: other, witAuthorities: [] }] as const]);
    await expect(verifyWitSvid(vector('foreign-domain'), both, NOW)).rejects.toThrow(
      'token has a kid that is not in the bundle of other.test',
    );
  });
});

describe('signing', () => {
  const confirmed = generateSigningKey('ec-p256');
  const confirmation: ConfirmationKey = { ...publicJwkOf(confirmed.privateKey)!, alg: 'ES256' };
  const terms = {
    id: parseSpiffeId('spiffe://example.org/payments'),
    issuedAt: NOW + 999,
    expiresAt: NOW + 3_600_999,
    jti: 'id',
  };

  /** A bundle whose one JWT key and one WIT key have the same kid, as no bundle may: only their use tells them apart. */
  function bundleOf(jwt: SigningKey, wit: SigningKey): ReadonlyMap<typeof example, TrustBundle> {
    const authority = (key: SigningKey) => [
      { kid: 'key', jwk: { ...publicJwkOf(key.privateKey)!, kid: 'key' }, expiresAt: undefined },
    ];
    const bundle = { ...frozen, jwtAuthorities: authority(jwt), witAuthorities: authority(wit) };
    return new Map([[example, bundle]]);
  }

  test.each<[SigningKeyType, string]>([
    ['ec-p256', 'ES256'],
    ['ec-p384', 'ES384'],
  ])(
    'with %s makes a token of %s that verifies, with the standard’s claims and header and no others',
    async (type, alg) => {
      const key = generateSigningKey(type);
      const token = new WitSigner(key, 'key').sign({ ...terms, confirmation });
      expect(decodeProtectedHeader(token)).toEqual({ alg, kid: 'key', typ: 'wit+jwt' });
      expect(decodeJwt(token)).toEqual({
        sub: 'spiffe://example.org/payments',
        exp: NOW / 1000 + 3600,
        iat: NOW / 1000,
        jti: 'id',
        cnf: { jwk: confirmation },
      });
      const verified = await verifyWitSvid(token, bundleOf(generateSigningKey(type), key), NOW);
      expect(verified).toMatchObject({ id: terms.id, kid: 'key', jti: 'id', confirmation });
    },
  );

  test('a key for one kind of token verifies none of the other, whatever its kid', async () => {
    const [jwtKey, witKey] = [generateSigningKey('ec-p256'), generateSigningKey('ec-p256')];
    const known = bundleOf(jwtKey, witKey);
    const audiences = parseAudiences([REPORTS]);
    const jwtBy = (key: SigningKey) => new JwtSigner(key, 'key').sign({ ...terms, issuedAt: NOW, audiences });
    const witBy = (key: SigningKey) => new WitSigner(key, 'key').sign({ ...terms, confirmation });
    await expect(verifyJwtSvid(jwtBy(jwtKey), REPORTS, known, NOW)).resolves.toBeDefined();
    await expect(verifyWitSvid(witBy(witKey), known, NOW)).resolves.toBeDefined();
    await expect(verifyJwtSvid(jwtBy(witKey), REPORTS, known, NOW)).rejects.toThrow(SIGNATURE);
    await expect(verifyWitSvid(witBy(jwtKey), known, NOW)).rejects.toThrow(SIGNATURE);
  });

  test('neither kind is taken for the other by its type', async () => {
    await expect(verifyJwtSvid(vector('valid'), REPORTS, bundles, NOW)).rejects.toThrow(
      'token has a typ other than JWT and JOSE',
    );
    const token = readFileSync(new URL('../../vectors/token/valid.jwt', import.meta.url), 'utf8');
    await expect(verifyWitSvid(token, bundles, NOW)).rejects.toThrow(TYP);
  });
});
