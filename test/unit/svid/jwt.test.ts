import { generateKeyPairSync, sign } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { describe, expect, test } from 'vitest';
import { parseAudience, parseAudiences } from '../../../agent/kernel/audience.ts';
import { MayflyError } from '../../../agent/kernel/errors.ts';
import { parseSpiffeId, parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import { parseBundle } from '../../../agent/svid/bundle-json.ts';
import { publicJwkOf, thumbprintOf } from '../../../agent/svid/jwk.ts';
import { verifyJwtSvid } from '../../../agent/svid/jwt.ts';
import { JwtSigner } from '../../../agent/svid/jwt-signer.ts';
import type { SigningKeyType } from '../../../agent/svid/signing-key.ts';
import { generateSigningKey } from '../../../agent/svid/signing-key.ts';
import type { TokenAuthority, TrustBundle } from '../../../agent/svid/trust-bundle.ts';

const NOW = Date.UTC(2026, 0, 1);
const REPORTS = parseAudience('spiffe://example.org/reports');
const example = parseTrustDomain('example.org');
const vectors = new URL('../../vectors/token/', import.meta.url);
const frozen = parseBundle(example, readFileSync(new URL('bundle.json', vectors), 'utf8'));
const bundles = new Map([[example, frozen]]);

function vector(name: string): string {
  return readFileSync(new URL(`${name}.jwt`, vectors), 'utf8');
}

const ALGORITHMS = 'RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512';
const MALFORMED = 'token is no JWS in compact serialization with a JSON header and claims';
const SIGNATURE = 'token has a signature that does not verify';
const DEFECTS: Readonly<Record<string, string>> = {
  'alg-none': `token has the algorithm none; JWT-SVID allows ${ALGORITHMS}`,
  'alg-missing': `token has no algorithm; JWT-SVID allows ${ALGORITHMS}`,
  'alg-hs256-over-public-key': `token has the algorithm HS256; JWT-SVID allows ${ALGORITHMS}`,
  'alg-of-another-key-type': 'token has the algorithm RS256, but its key is for ES256',
  'alg-of-another-curve': 'token has the algorithm ES384, but its key is for ES256',
  'typ-other': 'token has a typ other than JWT and JOSE',
  'crit-unknown': 'token is malformed',
  'kid-missing': 'token has no kid in its header',
  'kid-unknown': 'token has a kid that is not in the bundle of example.org',
  'foreign-domain': 'token is of trust domain other.test, whose bundle is not known here',
  'signature-bit-turned': SIGNATURE,
  'signature-missing': SIGNATURE,
  'signature-der': SIGNATURE,
  'claims-bit-turned': SIGNATURE,
  'another-audience': 'token is for another audience',
  'audience-empty': 'token is for another audience',
  'audience-missing': 'token has no aud',
  expired: 'token has expired (exp)',
  'exp-missing': 'token has no exp',
  'exp-text': 'token has a malformed exp',
  'not-yet-valid': 'token is not valid yet (nbf)',
  'issued-in-the-future': 'token was issued in the future (iat)',
  'sub-missing': 'token has no sub',
  'sub-no-spiffe-id': 'token has a sub that is no SPIFFE ID',
  'sub-number': 'token has a sub that is no SPIFFE ID',
  'claims-not-json': MALFORMED,
  'header-not-json': MALFORMED,
  'two-parts': MALFORMED,
  'five-parts': MALFORMED,
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
    expect(valid).toHaveLength(7);
  });

  test.each(valid)('accepts %s', async (name) => {
    const verified = await verifyJwtSvid(vector(name), REPORTS, bundles, NOW);
    expect(verified).toMatchObject({
      id: 'spiffe://example.org/payments',
      kid: name.includes('s256') ? 'rsa' : 'ec',
      jti: '00112233445566778899aabbccddeeff',
      claims: { sub: 'spiffe://example.org/payments', aud: [REPORTS], exp: expect.any(Number) },
    });
  });

  test.each(Object.entries(DEFECTS))('refuses %s: %s', async (name, message) => {
    const token = vector(name);
    const error = await verifyJwtSvid(token, REPORTS, bundles, NOW).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(MayflyError);
    expect(error).toMatchObject({ code: 'TOKEN_INVALID', message });
    const parts = token.split('.').filter((part) => part !== '');
    for (const part of parts) expect((error as Error).message).not.toContain(part);
  });

  test('refuses every token with a bit turned, whichever character it is in', async () => {
    const token = vector('valid');
    let refused = 0;
    for (let at = 0; at < token.length; at++) {
      const turned = `${token.slice(0, at)}${String.fromCharCode(token.charCodeAt(at) ^ 1)}${token.slice(at + 1)}`;
      await expect(verifyJwtSvid(turned, REPORTS, bundles, NOW)).rejects.toMatchObject({ code: 'TOKEN_INVALID' });
      refused += 1;
    }
    expect(refused).toBe(token.length);
  });

  test('refuses every other spelling of a token: padding, white space, and bits that say nothing', async () => {
    const token = vector('valid');
    const [header = '', claims = '', signature = ''] = token.split('.');
    const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const sameBits = digits[digits.indexOf(signature.at(-1) ?? '') ^ 1];
    const spelled = [
      `${token}==`,
      `${token} `,
      `${token}\n`,
      `${token}\0`,
      `${header}.${claims}.${signature.slice(0, 9)} ${signature.slice(9)}`,
      `${header}.${claims}.\t${signature}`,
      `${token.slice(0, -1)}${sameBits}`,
      Buffer.from(signature, 'base64url').toString('base64').replace(/^/, `${header}.${claims}.`),
    ];
    for (const text of spelled) {
      expect(text).not.toBe(token);
      const verified = verifyJwtSvid(text, REPORTS, bundles, NOW);
      await expect(verified).rejects.toMatchObject({ code: 'TOKEN_INVALID', message: MALFORMED });
    }
  });

  test('refuses a time of expiry that never comes', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const encode = (text: string) => Buffer.from(text).toString('base64url');
    const claims = `{"sub":"spiffe://example.org/payments","aud":[${JSON.stringify(REPORTS)}],"exp":1e999}`;
    const signed = `${encode('{"alg":"ES256","kid":"forever"}')}.${encode(claims)}`;
    const signature = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' });
    const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'forever', alg: 'ES256' } as TokenAuthority['jwk'];
    const bundle = { ...frozen, jwtAuthorities: [{ kid: 'forever', jwk, expiresAt: undefined }] };
    const verified = verifyJwtSvid(
      `${signed}.${signature.toString('base64url')}`,
      REPORTS,
      new Map([[example, bundle]]),
      NOW,
    );
    await expect(verified).rejects.toMatchObject({ code: 'TOKEN_INVALID', message: 'token has a malformed exp' });
  });

  test("does not let one trust domain's key speak for another", async () => {
    const other = parseTrustDomain('other.test');
    const both: Map<typeof other, TrustBundle> = new Map([
      [example, frozen],
      [other, { ...frozen, trustDomain: other, jwtAuthorities: [] }],
    ]);
    await expect(verifyJwtSvid(vector('foreign-domain'), REPORTS, both, NOW)).rejects.toThrow(
      'token has a kid that is not in the bundle of other.test',
    );
  });

  test.each([
    [300_000 + 59_999, true],
    [300_000 + 60_000, false],
  ])('%i ms after it was issued for five minutes: accepted %s', async (later, accepted) => {
    const verified = verifyJwtSvid(vector('valid'), REPORTS, bundles, NOW + later);
    await (accepted ? expect(verified).resolves.toBeDefined() : expect(verified).rejects.toThrow('has expired'));
  });

  test('refuses an algorithm that the bundle does not name for the key', async () => {
    const jwtAuthorities = frozen.jwtAuthorities.map((each) => ({ ...each, jwk: { ...each.jwk, alg: 'PS256' } }));
    const narrowed = new Map([[example, { ...frozen, jwtAuthorities }]]);
    await expect(verifyJwtSvid(vector('valid-ps256'), REPORTS, narrowed, NOW)).resolves.toBeDefined();
    await expect(verifyJwtSvid(vector('valid-rs256'), REPORTS, narrowed, NOW)).rejects.toThrow(
      'token has the algorithm RS256, but its key is for PS256',
    );
  });
});

describe('signing', () => {
  test.each<[SigningKeyType, string]>([
    ['ec-p256', 'ES256'],
    ['ec-p384', 'ES384'],
  ])('with %s makes a token of %s that verifies, with the claims and header that clients want', async (type, alg) => {
    const key = generateSigningKey(type);
    const jwk = publicJwkOf(key.privateKey)!;
    const kid = thumbprintOf(jwk);
    const token = new JwtSigner(key, kid).sign({
      id: parseSpiffeId('spiffe://example.org/payments'),
      audiences: parseAudiences(['b', 'a', 'größe']),
      issuedAt: NOW + 999,
      expiresAt: NOW + 300_999,
      jti: 'id',
    });
    expect(decodeProtectedHeader(token)).toEqual({ alg, kid, typ: 'JWT' });
    expect(decodeJwt(token)).toEqual({
      sub: 'spiffe://example.org/payments',
      aud: ['a', 'b', 'größe'],
      exp: NOW / 1000 + 300,
      iat: NOW / 1000,
      jti: 'id',
    });
    const bundle: TrustBundle = {
      trustDomain: example,
      x509Authorities: [],
      jwtAuthorities: [{ kid, jwk: { ...jwk, kid }, expiresAt: undefined }],
      witAuthorities: [],
      sequence: 1,
      refreshHint: 300,
    };
    const verified = await verifyJwtSvid(token, parseAudience('größe'), new Map([[example, bundle]]), NOW);
    expect(verified).toMatchObject({ id: 'spiffe://example.org/payments', kid, jti: 'id' });
  });
});

test('the thumbprint of RFC 7638 §3.1 is what it says there', () => {
  const n =
    '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw';
  expect(thumbprintOf({ kty: 'RSA', n, e: 'AQAB' })).toBe('NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs');
});
