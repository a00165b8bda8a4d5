import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { describe, expect, test } from 'vitest';
import { parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import { formatBundle, parseBundle } from '../../../agent/svid/bundle-json.ts';
import { jwksOf, witJwksOf } from '../../../agent/svid/jwks.ts';

const example = parseTrustDomain('example.org');
const vectors = new URL('../../vectors/bundle/', import.meta.url);

function vector(name: string): string {
  return readFileSync(new URL(`${name}.json`, vectors), 'utf8');
}

const WHOLE = 'the bundle of example.org';
const FIRST = 'keys[0] of the bundle of example.org';
const DEFECTS: Readonly<Record<string, string>> = {
  'not-json': `${WHOLE} is no JSON`,
  'not-an-object': `${WHOLE} is no JSON object`,
  'keys-missing': `${WHOLE} has no list "keys"`,
  'key-not-an-object': `${FIRST} is no object`,
  'jwt-key-without-kid': `${FIRST} has no kid, which a jwt-svid key must have`,
  'jwt-key-without-kty': `${FIRST} has no kty`,
  'jwt-key-kid-twice': 'keys[1] of the bundle of example.org has the kid of an earlier key',
  'jwt-key-kid-of-a-wit-key': 'keys[1] of the bundle of example.org has the kid of an earlier key',
  'wit-key-without-kid': `${FIRST} has no kid, which a wit-svid key must have`,
  'wit-key-kid-twice': 'keys[1] of the bundle of example.org has the kid of an earlier key',
  'wit-key-kid-of-a-jwt-key': 'keys[1] of the bundle of example.org has the kid of an earlier key',
  'wit-key-private': `${FIRST} has the private member "d"; a bundle is public: replace that key, it is known now`,
  'jwt-key-private': `${FIRST} has the private member "d"; a bundle is public: replace that key, it is known now`,
  'jwt-key-off-its-curve': `${FIRST} has no usable public key`,
  'jwt-key-rsa-1024': `${FIRST} has an RSA key of 1024 bits; at least 2048`,
  'jwt-key-with-alg-of-another-key': `${FIRST} has an alg that its key cannot have; allowed are RS256, RS384, RS512, PS256, PS384, PS512`,
  'x5c-not-a-list': `${FIRST} has an x5c that is no list of base64 texts`,
  'x5c-not-base64': `${FIRST} has an x5c that is no list of base64 texts`,
  'x5c-not-a-certificate': `${FIRST} has an x5c that is no X.509 certificate`,
  'x5c-trailing-bytes': `${FIRST} has an x5c with something other than one DER certificate`,
  'x5c-leaf': `${FIRST} has a certificate of no CA: it could vouch for nothing`,
  'sequence-not-a-number': `${WHOLE} has a spiffe_sequence that is no whole number`,
  'refresh-hint-negative': `${WHOLE} has a spiffe_refresh_hint that is no whole number`,
};

describe('parsing', () => {
  test('every vector is judged here', () => {
    const names = readdirSync(vectors).map((name) => name.slice(0, -'.json'.length));
    expect(names.filter((name) => !name.startsWith('valid')).toSorted()).toEqual(Object.keys(DEFECTS).toSorted());
  });

  test.each(Object.entries(DEFECTS))('refuses %s', (name, message) => {
    expect(() => parseBundle(example, vector(name))).toThrow(
      expect.objectContaining({ code: 'INVALID_BUNDLE', message }),
    );
  });

  test('takes roots, JWT keys, sequence and refresh hint', () => {
    const bundle = parseBundle(example, vector('valid'));
    expect(bundle).toMatchObject({ trustDomain: 'example.org', sequence: 7, refreshHint: 60 });
    expect(bundle.x509Authorities.map((der) => new X509Certificate(der).ca)).toEqual([true]);
    expect(bundle.jwtAuthorities.map(({ kid, jwk }) => [kid, Object.keys(jwk).toSorted()])).toEqual([
      ['ec', ['crv', 'kid', 'kty', 'x', 'y']],
      ['rsa', ['e', 'kid', 'kty', 'n']],
    ]);
  });

  test('takes what the standard tells to ignore for nothing: unknown use and key type, no x5c, a second certificate', () => {
    const { sequence, witAuthorities, ...rest } = parseBundle(example, vector('valid-with-what-is-to-be-ignored'));
    const { sequence: _, witAuthorities: none, ...plain } = parseBundle(example, vector('valid'));
    expect(rest).toEqual(plain);
    expect(sequence).toBe(8);
    // Its use was unknown once.
    expect([none, witAuthorities.map(({ kid }) => kid)]).toEqual([[], ['w']]);
  });

  test('takes WIT keys beside JWT keys, and never for them', () => {
    const { witAuthorities, ...rest } = parseBundle(example, vector('valid-with-wit-keys'));
    const { witAuthorities: _, ...plain } = parseBundle(example, vector('valid'));
    expect(rest).toEqual(plain);
    expect(witAuthorities.map(({ kid, jwk }) => [kid, jwk.kty, jwk.alg])).toEqual([
      ['wit', 'EC', undefined],
      ['wit-rsa', 'RSA', 'PS256'],
    ]);
  });

  test('assumes five minutes between refreshes where the publisher does not say', () => {
    const bundle = parseBundle(example, vector('valid-without-sequence-and-hint'));
    expect(bundle).toMatchObject({ sequence: 0, refreshHint: 300 });
  });

  test('an empty bundle vouches for nothing', () => {
    expect(parseBundle(example, vector('valid-empty'))).toMatchObject({ x509Authorities: [], jwtAuthorities: [] });
  });

  test('a root that names another trust domain is refused: the file is not the one that was meant', () => {
    const text = vector('valid-of-other-org');
    expect(parseBundle(parseTrustDomain('other.org'), text)).toMatchObject({ trustDomain: 'other.org', sequence: 7 });
    expect(() => parseBundle(example, text)).toThrow(
      expect.objectContaining({
        code: 'INVALID_BUNDLE',
        message: `${FIRST} has a root of other.org, and would let it issue identities of example.org; use the bundle of example.org`,
      }),
    );
  });

  test('a private key in something that is no JSON is not quoted', () => {
    expect(() => parseBundle(example, '{"keys": [{"d": "s3cret" oops}]}')).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('s3cret'), cause: undefined }),
    );
  });
});

describe('writing', () => {
  test('what was written is read back the same', () => {
    const bundle = parseBundle(example, vector('valid-with-wit-keys'));
    expect(parseBundle(example, formatBundle(bundle))).toEqual(bundle);
  });

  test('each key has the use of its kind', () => {
    const { keys } = JSON.parse(formatBundle(parseBundle(example, vector('valid-with-wit-keys')))) as {
      keys: { use: string }[];
    };
    expect(keys.map(({ use }) => use)).toEqual(['x509-svid', 'jwt-svid', 'jwt-svid', 'wit-svid', 'wit-svid']);
  });

  test('X.509 entries have one certificate, its key and no kid; JWT entries have one', () => {
    const { keys } = JSON.parse(formatBundle(parseBundle(example, vector('valid')))) as { keys: object[] };
    expect(keys.map((key) => Object.keys(key).toSorted())).toEqual([
      ['crv', 'kty', 'use', 'x', 'x5c', 'y'],
      ['crv', 'kid', 'kty', 'use', 'x', 'y'],
      ['e', 'kid', 'kty', 'n', 'use'],
    ]);
  });
});

describe('the JWK Sets of the Workload API', () => {
  const bundle = parseBundle(example, vector('valid-with-wit-keys'));

  test('for WIT-SVIDs has the WIT keys alone, each with kid and its use', () => {
    const { keys } = JSON.parse(witJwksOf(bundle)) as { keys: { kty: string; kid: string; use?: string }[] };
    expect(keys.map(({ kty, kid, use }) => [kty, kid, use])).toEqual([
      ['EC', 'wit', 'wit-svid'],
      ['RSA', 'wit-rsa', 'wit-svid'],
    ]);
  });

  test('for JWT-SVIDs has the JWT keys alone, each with kid, none with a SPIFFE use', () => {
    const { keys } = JSON.parse(jwksOf(bundle)) as { keys: { kty: string; kid: string; use?: string }[] };
    expect(keys.map(({ kty, kid, use }) => [kty, kid, use])).toEqual([
      ['EC', 'ec', undefined],
      ['RSA', 'rsa', undefined],
    ]);
  });

  test('for JWT-SVIDs is what a stock JWT library verifies with', async () => {
    const token = readFileSync(new URL('../../vectors/token/valid.jwt', import.meta.url), 'utf8');
    const own = parseBundle(example, readFileSync(new URL('../../vectors/token/bundle.json', import.meta.url), 'utf8'));
    const keys = createLocalJWKSet(JSON.parse(jwksOf(own)) as Parameters<typeof createLocalJWKSet>[0]);
    const { payload } = await jwtVerify(token, keys, { currentDate: new Date(Date.UTC(2026, 0, 1)) });
    expect(payload.sub).toBe('spiffe://example.org/payments');
  });
});
