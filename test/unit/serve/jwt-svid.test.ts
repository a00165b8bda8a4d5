import type { KeyObject } from 'node:crypto';
import { createHmac, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify, SignJWT } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SpiffeWorkloadAPI } from '../../../agent/gen/workload_pb.js';
import { parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import { publicJwkOf } from '../../../agent/svid/jwk.ts';
import type { TrustBundle } from '../../../agent/svid/trust-bundle.ts';
import type { ApiWorld } from '../../support/api-world.ts';
import { apiWorld, ownEntry } from '../../support/api-world.ts';
import { jwtGrant } from '../../support/grants.ts';
import { makeChain } from '../../support/issuer.ts';
import { MINUTE } from '../../support/lease-world.ts';

const { fetchJWTSVID, fetchJWTBundles, fetchX509SVID, validateJWTSVID } = SpiffeWorkloadAPI.method;
const other = parseTrustDomain('other.org');
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const foreign = bundleOf(publicKey);

let world: ApiWorld;
beforeEach(async () => {
  world = await apiWorld([ownEntry('web', { federatesWith: [other] })]);
  world.federated.set(new Map([[other, foreign]]));
});
afterEach(async () => {
  expect(world.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
  await world.close();
});

function bundleOf(key: KeyObject): TrustBundle {
  const jwk = publicJwkOf(key);
  if (jwk === undefined) throw new Error('no JWK');
  const kid = 'foreign-key';
  const jwtAuthorities = [{ kid, jwk: { ...jwk, kid, alg: 'ES256' }, expiresAt: undefined }];
  return { trustDomain: other, x509Authorities: [], jwtAuthorities, witAuthorities: [], sequence: 1, refreshHint: 300 };
}

/** A token of the federated domain: what it says is the test's to choose. `undefined` leaves a claim out. */
function foreignToken(
  claims: Record<string, unknown> = {},
  header: { kid?: string; typ?: string } = {},
): Promise<string> {
  const now = world.clock.now() / 1000;
  return new SignJWT({ sub: 'spiffe://other.org/billing', aud: 'a', exp: now + 300, iat: now, ...claims })
    .setProtectedHeader({ alg: 'ES256', kid: 'foreign-key', typ: 'JWT', ...header })
    .sign(privateKey);
}

async function ownToken(audience = ['a']): Promise<string> {
  const { svids } = await world.client.call(fetchJWTSVID, { audience });
  return svids[0]?.svid ?? '';
}

/** A token with a header of its own, and a signature over it that `sign` makes. */
function forged(token: string, header: object, sign: (input: string) => string): string {
  const [, claims] = token.split('.');
  const input = `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${claims}`;
  return `${input}.${sign(input)}`;
}

describe('a JWT-SVID', () => {
  it('says whose it is, for whom and until when, and verifies with the JWKS that is handed out', async () => {
    const { svids } = await world.client.call(fetchJWTSVID, { audience: ['b', 'a', 'b'] });
    expect(svids.map(({ spiffeId, hint }) => [spiffeId, hint])).toEqual([['spiffe://example.org/web', '']]);
    const token = svids[0]?.svid ?? '';
    const { bundles } = await world.client.stream(fetchJWTBundles, {}).at(1);
    const jwks = JSON.parse(Buffer.from(bundles['spiffe://example.org'] ?? []).toString());
    const { payload, protectedHeader } = await jwtVerify(token, createLocalJWKSet(jwks), {
      currentDate: new Date(world.clock.now()),
      audience: 'a',
    });
    const now = world.clock.now() / 1000;
    expect(protectedHeader).toEqual({ alg: 'ES256', kid: jwks.keys[0].kid, typ: 'JWT' });
    expect(payload).toEqual({
      sub: 'spiffe://example.org/web',
      aud: ['a', 'b'],
      iat: now,
      exp: now + 300,
      jti: expect.stringMatching(/^[0-9a-f]{32}$/),
    });
  });

  it('comes for each identity, or for the one that is asked for', async () => {
    world.replaceEntries([ownEntry('b'), ownEntry('a', { hint: 'h' })]);
    const all = await world.client.call(fetchJWTSVID, { audience: ['a'] });
    expect(all.svids.map(({ spiffeId, hint }) => [spiffeId, hint])).toEqual([
      ['spiffe://example.org/a', 'h'],
      ['spiffe://example.org/b', ''],
    ]);
    const one = await world.client.call(fetchJWTSVID, { audience: ['a'], spiffeId: 'spiffe://example.org/b' });
    expect(one.svids.map(({ spiffeId }) => spiffeId)).toEqual(['spiffe://example.org/b']);
    expect(one.svids[0]?.svid).toBe(all.svids[1]?.svid);
  });

  it('is handed out again until half of its life is over, whatever the order of the audiences', async () => {
    const first = await ownToken(['a', 'b']);
    expect(await ownToken(['b', 'a'])).toBe(first);
    expect(await ownToken(['a'])).not.toBe(first);
    await world.clock.elapse(2.5 * MINUTE);
    const second = await ownToken(['a', 'b']);
    expect(decodeJwt(second).jti).not.toBe(decodeJwt(first).jti);
  });

  it('carries the newest hint of its entry, also from the cache', async () => {
    await ownToken();
    world.replaceEntries([ownEntry('web', { hint: 'new' })]);
    const { svids } = await world.client.call(fetchJWTSVID, { audience: ['a'] });
    expect(svids[0]?.hint).toBe('new');
    expect(world.issuer.counts.jwt).toBe(1);
  });
});

describe('the JWKS', () => {
  it('holds JWT keys alone, each with kid and alg, and of no key the private half', async () => {
    const { bundles } = await world.client.stream(fetchJWTBundles, {}).at(1);
    expect(Object.keys(bundles).toSorted()).toEqual(['spiffe://example.org', 'spiffe://other.org']);
    for (const bytes of Object.values(bundles)) {
      const jwks = JSON.parse(Buffer.from(bytes).toString());
      expect(Object.keys(jwks)).toEqual(['keys']);
      expect(jwks.keys).toHaveLength(1);
      const members = ['alg', 'crv', 'kid', 'kty', 'x', 'y'];
      for (const key of jwks.keys) expect(Object.keys(key).toSorted()).toEqual(members);
    }
  });

  it('is told again when a JWT key changes, and not when a root does; a bundle without JWT keys is left out', async () => {
    const stream = world.client.stream(fetchJWTBundles, {});
    await stream.at(1);
    const own = world.bundle.value;
    if (own === undefined) throw new Error('no bundle');
    world.bundle.set({ ...own, x509Authorities: [...own.x509Authorities, makeChain('ec-p256').root] });
    const certificates = world.client.stream(fetchX509SVID, {});
    await certificates.at(1);
    expect(stream.received).toHaveLength(1);
    world.federated.set(new Map([[other, { ...foreign, jwtAuthorities: [] }]]));
    expect(Object.keys((await stream.at(2)).bundles)).toEqual(['spiffe://example.org']);
  });
});

describe('a token that is to be validated', () => {
  it('is told with all its claims, the audiences as a list', async () => {
    const token = await ownToken(['a', 'b']);
    const { spiffeId, claims } = await world.client.call(validateJWTSVID, { audience: 'b', svid: token });
    expect(spiffeId).toBe('spiffe://example.org/web');
    expect(claims).toEqual({ ...decodeJwt(token), aud: ['a', 'b'] });
    const single = await world.client.call(validateJWTSVID, { audience: 'a', svid: await foreignToken() });
    expect(single.spiffeId).toBe('spiffe://other.org/billing');
    expect(single.claims).toMatchObject({ aud: ['a'], sub: 'spiffe://other.org/billing', exp: expect.any(Number) });
  });

  it('is refused once its lease has ended, with the reason, and the use is noted', async () => {
    const token = await ownToken();
    await world.client.call(validateJWTSVID, { audience: 'a', svid: token });
    world.replaceEntries([]);
    expect(await world.client.told(validateJWTSVID, { audience: 'a', svid: token })).toEqual({
      code: 'INVALID_ARGUMENT',
      details: 'token was revoked (privilegeWithdrawn)',
    });
    expect(await world.client.told(validateJWTSVID, { audience: 'a', svid: 'rubbish' })).toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    const [issued] = world.ledger.of('svid.issued');
    const caller = { pid: process.pid, uid: process.getuid?.() };
    const named = { jti: issued?.jti, decision: issued?.decision, spiffe_id: 'spiffe://example.org/web' };
    expect(world.ledger.uses).toMatchObject([
      { type: 'svid.validated', audience: 'a', caller, ...named },
      { type: 'svid.rejected', audience: 'a', caller, ...named, reason: 'token was revoked (privilegeWithdrawn)' },
      { type: 'svid.rejected', audience: 'a', caller, reason: expect.stringMatching(/^token is no JWS/) },
    ]);
    // Nothing is believed of what does not verify, and nothing of it is kept.
    expect(world.ledger.uses[2]).not.toHaveProperty('jti');
    expect(JSON.stringify(world.ledger.uses)).not.toContain('rubbish');
  });

  it('is validated for a caller without identity; a federated one is not', async () => {
    world.replaceEntries([]);
    const grant = jwtGrant({ now: world.clock.now(), ttl: MINUTE, id: 'spiffe://example.org/web', audiences: ['a'] });
    const { token } = await world.signer.issueJwt(grant);
    expect((await world.client.call(validateJWTSVID, { audience: 'a', svid: token })).spiffeId).toBe(
      'spiffe://example.org/web',
    );
    expect(await world.client.told(validateJWTSVID, { audience: 'a', svid: await foreignToken() })).toEqual({
      code: 'INVALID_ARGUMENT',
      details: 'token is of trust domain other.org, whose bundle is not known here',
    });
    expect(world.leases.workloads).toBe(0);
  });

  it('of a federated domain is valid only for whom an entry federates with it', async () => {
    const request = { audience: 'a', svid: await foreignToken() };
    expect((await world.client.call(validateJWTSVID, request)).spiffeId).toBe('spiffe://other.org/billing');
    world.replaceEntries([ownEntry('web')]);
    expect(await world.client.told(validateJWTSVID, request)).toEqual({
      code: 'INVALID_ARGUMENT',
      details: 'token is of trust domain other.org, whose bundle is not known here',
    });
  });

  it.each<[string, () => Promise<string>, string]>([
    [
      'with alg none',
      async () => forged(await ownToken(), { alg: 'none', typ: 'JWT', kid: 'k' }, () => ''),
      'token has the algorithm none; JWT-SVID allows RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512',
    ],
    [
      'with HS256 over the public key',
      async () => {
        const token = await ownToken();
        const { kid } = decodeProtectedHeader(token);
        const jwk = world.bundle.value?.jwtAuthorities[0]?.jwk ?? {};
        const pem = createPublicKey({ key: { ...jwk }, format: 'jwk' }).export({ type: 'spki', format: 'pem' });
        return forged(token, { alg: 'HS256', typ: 'JWT', kid }, (input) =>
          createHmac('sha256', pem).update(input).digest('base64url'),
        );
      },
      'token has the algorithm HS256; JWT-SVID allows RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512',
    ],
    [
      'with a turned bit in its signature',
      async () => {
        const token = await ownToken();
        const dot = token.lastIndexOf('.') + 1;
        const signature = Buffer.from(token.slice(dot), 'base64url');
        signature[5] = (signature[5] ?? 0) ^ 1;
        return token.slice(0, dot) + signature.toString('base64url');
      },
      'token has a signature that does not verify',
    ],
    [
      'with a turned bit in its claims',
      async () => {
        const [header, claims = '', signature] = (await ownToken()).split('.');
        const text = Buffer.from(claims, 'base64url').toString().replace('/web', '/wec');
        return [header, Buffer.from(text).toString('base64url'), signature].join('.');
      },
      'token has a signature that does not verify',
    ],
    ['for another audience', () => ownToken(['b']), 'token is for another audience'],
    [
      'that has expired',
      async () => {
        const token = await ownToken();
        await world.clock.elapse(6 * MINUTE + 1000);
        return token;
      },
      'token has expired (exp)',
    ],
    [
      'that is not yet valid',
      () => foreignToken({ nbf: world.clock.now() / 1000 + 61 }),
      'token is not valid yet (nbf)',
    ],
    [
      'issued in the future',
      () => foreignToken({ iat: world.clock.now() / 1000 + 61 }),
      'token was issued in the future (iat)',
    ],
    ['without exp', () => foreignToken({ exp: undefined }), 'token has no exp'],
    ['with an exp that is no number', () => foreignToken({ exp: 'tomorrow' }), 'token has a malformed exp'],
    [
      'with an unknown kid',
      () => foreignToken({}, { kid: 'x' }),
      'token has a kid that is not in the bundle of other.org',
    ],
    [
      'of a foreign domain',
      () => foreignToken({ sub: 'spiffe://third.org/x' }),
      'token is of trust domain third.org, whose bundle is not known here',
    ],
    [
      'of this domain, signed by another',
      () => foreignToken({ sub: 'spiffe://example.org/web' }),
      'token has a kid that is not in the bundle of example.org',
    ],
    ['without an audience', () => foreignToken({ aud: undefined }), 'token has no aud'],
    ['with another typ', () => foreignToken({}, { typ: 'at+jwt' }), 'token has a typ other than JWT and JOSE'],
  ])('%s is refused with the reason', async (_how, make, details) => {
    const svid = await make();
    const told = await world.client.told(validateJWTSVID, { audience: 'a', svid });
    expect(told).toEqual({ code: 'INVALID_ARGUMENT', details });
  });

  it('is believed for a minute beyond its times, and not longer', async () => {
    const now = world.clock.now() / 1000;
    for (const claims of [{ exp: now - 59 }, { nbf: now + 60 }, { iat: now + 60 }]) {
      const request = { audience: 'a', svid: await foreignToken(claims) };
      expect(await world.client.told(validateJWTSVID, request)).toEqual({ code: 'OK', details: '' });
    }
    const late = { audience: 'a', svid: await foreignToken({ exp: now - 60 }) };
    expect(await world.client.told(validateJWTSVID, late)).toMatchObject({ details: 'token has expired (exp)' });
  });

  it.each<[string, Record<string, unknown>, string]>([
    ['a number beyond a double', JSON.parse('{"x": [1e999]}'), 'OK'],
    ['an unpaired surrogate', { x: '\ud800' }, 'OK'],
    ['a claim called __proto__', JSON.parse('{"__proto__": {"y": 1}}'), 'OK'],
    ['claims nested 32 levels deep', nested(32), 'OK'],
    ['claims nested 33 levels deep', nested(33), 'INVALID_ARGUMENT'],
    ['claims nested two thousand levels deep', nested(2000), 'INVALID_ARGUMENT'],
  ])('with %s is no failure of the agent', async (_what, claims, code) => {
    const svid = await foreignToken(claims);
    expect(await world.client.told(validateJWTSVID, { audience: 'a', svid })).toEqual({
      code,
      details: code === 'OK' ? '' : 'token has claims nested more than 32 levels deep',
    });
  });
});

/** Claims of which one is `levels` deep, the claims themselves included. */
function nested(levels: number): Record<string, unknown> {
  return { x: JSON.parse('['.repeat(levels - 1) + ']'.repeat(levels - 1)) };
}
