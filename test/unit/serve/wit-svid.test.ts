import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { createLocalJWKSet, decodeJwt, jwtVerify, SignJWT } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WorkloadExtension } from '../../../agent/gen/workload_extension_pb.js';
import type { WITSVIDResponse } from '../../../agent/gen/workload_pb.js';
import { SpiffeWorkloadAPI } from '../../../agent/gen/workload_pb.js';
import { parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import { publicJwkOf } from '../../../agent/svid/jwk.ts';
import type { TrustBundle } from '../../../agent/svid/trust-bundle.ts';
import type { ApiWorld } from '../../support/api-world.ts';
import { apiWorld, ownEntry } from '../../support/api-world.ts';
import { MINUTE } from '../../support/lease-world.ts';

const { fetchJWTBundles, fetchJWTSVID, fetchWITBundles, fetchWITSVID, fetchX509SVID } = SpiffeWorkloadAPI.method;
const { validateWITSVID } = WorkloadExtension.method;
const other = parseTrustDomain('other.org');
const foreignKey = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
const foreignJwk = publicJwkOf(foreignKey);
if (foreignJwk === undefined) throw new Error('no JWK');
const foreign: TrustBundle = {
  trustDomain: other,
  x509Authorities: [],
  jwtAuthorities: [],
  witAuthorities: [{ kid: 'foreign', jwk: { ...foreignJwk, kid: 'foreign', alg: 'ES256' }, expiresAt: undefined }],
  sequence: 1,
  refreshHint: 300,
};

let world: ApiWorld;
beforeEach(async () => {
  world = await apiWorld([ownEntry('web', { federatesWith: [other] })]);
  world.federated.set(new Map([[other, foreign]]));
});
afterEach(async () => {
  expect(world.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
  await world.close();
  expect(world.clock.alarms).toBe(0);
  expect([...world.leases]).toEqual([]);
});

function tokenIn({ svids }: WITSVIDResponse): string {
  return svids[0]?.witSvid ?? '';
}

/** What has to have come by now has come: all that was told before this is delivered before its own answer. */
async function quiet(): Promise<void> {
  await world.clock.elapse(0);
  const bundles = world.client.stream(fetchWITBundles, {});
  await bundles.at(1);
  bundles.cancel();
  await bundles.ended;
}

/** A WIT-SVID of the federated domain for a key of its own. */
function foreignToken(): Promise<string> {
  const cnf = { jwk: { ...publicJwkOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey), alg: 'ES256' } };
  return new SignJWT({ sub: 'spiffe://other.org/billing', exp: world.clock.now() / 1000 + 300, cnf })
    .setProtectedHeader({ alg: 'ES256', kid: 'foreign', typ: 'wit+jwt' })
    .sign(foreignKey);
}

describe('a WIT-SVID', () => {
  it('verifies with the bundle that is handed out, and comes with the key that it confirms', async () => {
    const { svids } = await world.client.stream(fetchWITSVID, {}).at(1);
    expect(svids.map(({ spiffeId, hint }) => [spiffeId, hint])).toEqual([['spiffe://example.org/web', '']]);
    const { bundles } = await world.client.stream(fetchWITBundles, {}).at(1);
    const jwks = JSON.parse(bundles['spiffe://example.org'] ?? '') as { keys: { kid: string }[] };
    // A stock library leaves out keys of a use that it does not know, as it should: WIT-SVIDs are no bearer tokens.
    const keys = createLocalJWKSet({ keys: jwks.keys.map((key) => ({ ...key, use: undefined })) as never });
    const now = world.clock.now();
    const { payload, protectedHeader } = await jwtVerify(svids[0]?.witSvid ?? '', keys, {
      currentDate: new Date(now),
      typ: 'wit+jwt',
    });
    expect(protectedHeader).toEqual({ alg: 'ES256', kid: jwks.keys[0]?.kid, typ: 'wit+jwt' });
    const { d, ...publicPart } = JSON.parse(svids[0]?.witSvidKey ?? '') as Record<string, string>;
    expect(payload).toEqual({
      sub: 'spiffe://example.org/web',
      iat: now / 1000,
      exp: now / 1000 + 3600,
      jti: expect.stringMatching(/^[0-9a-f]{32}$/),
      cnf: { jwk: publicPart },
    });
    expect(publicPart).toEqual({ kty: 'EC', crv: 'P-256', x: expect.any(String), y: expect.any(String), alg: 'ES256' });

    // What the workload proves possession with, and how whoever it is presented to checks that.
    const key = createPrivateKey({ key: { ...publicPart, d: d ?? '' }, format: 'jwk' });
    const proof = sign('sha256', Buffer.from('GET /'), { key, dsaEncoding: 'ieee-p1363' });
    const confirmed = createPublicKey({ key: publicPart, format: 'jwk' });
    expect(verify('sha256', Buffer.from('GET /'), { key: confirmed, dsaEncoding: 'ieee-p1363' }, proof)).toBe(true);
  });

  it('has another key than the certificate of the same process', async () => {
    const { svids } = await world.client.stream(fetchWITSVID, {}).at(1);
    const x509 = await world.client.stream(fetchX509SVID, {}).at(1);
    const der = Buffer.from(x509.svids[0]?.x509SvidKey ?? []);
    const leafKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    expect(leafKey.export({ format: 'jwk' }).d).not.toBe(JSON.parse(svids[0]?.witSvidKey ?? '{}').d);
    expect(world.issuer.counts).toMatchObject({ x509: 1, wit: 1 });
  });

  it('comes for each identity in the order of their ids, of two with one hint for the first; or for the one asked for', async () => {
    world.replaceEntries([ownEntry('c', { hint: 'h' }), ownEntry('b'), ownEntry('a', { hint: 'h' })]);
    const { svids } = await world.client.stream(fetchWITSVID, {}).at(1);
    expect(svids.map(({ spiffeId, hint }) => [spiffeId, hint])).toEqual([
      ['spiffe://example.org/a', 'h'],
      ['spiffe://example.org/b', ''],
    ]);
    const one = await world.client.stream(fetchWITSVID, { spiffeId: 'spiffe://example.org/b' }).at(1);
    expect(one.svids.map(({ spiffeId }) => spiffeId)).toEqual(['spiffe://example.org/b']);
    expect(tokenIn(one)).toBe(svids[1]?.witSvid);
  });

  it('is of the key type that is configured, RSA too', async () => {
    world.issuer.replaceKeyType('rsa-2048');
    const { svids } = await world.client.stream(fetchWITSVID, {}).at(1);
    const jwk = JSON.parse(svids[0]?.witSvidKey ?? '') as Record<string, string>;
    expect(createPrivateKey({ key: jwk, format: 'jwk' }).asymmetricKeyDetails?.modulusLength).toBe(2048);
    const { alg, e, kty, n } = jwk;
    expect(decodeJwt(svids[0]?.witSvid ?? '')['cnf']).toEqual({ jwk: { kty, n, e, alg } });
    expect(alg).toBe('RS256');
  });
});

describe('a stream of WIT-SVIDs', () => {
  it('tells everything again when one is renewed, when the hint changes, and never without a change', async () => {
    const stream = world.client.stream(fetchWITSVID, {});
    const first = await stream.at(1);
    await world.clock.elapse(29 * MINUTE);
    world.federated.set(new Map());
    await quiet();
    expect(stream.received).toHaveLength(1);
    await world.clock.elapse(2 * MINUTE);
    const second = await stream.at(2);
    expect(tokenIn(second)).not.toBe(tokenIn(first));
    expect(second.svids[0]?.witSvidKey).not.toBe(first.svids[0]?.witSvidKey);
    world.replaceEntries([ownEntry('web', { hint: 'internal' })]);
    const third = await stream.at(3);
    expect([tokenIn(third), third.svids[0]?.hint]).toEqual([tokenIn(second), 'internal']);
    // A certificate comes and goes beside it.
    const certificates = world.client.stream(fetchX509SVID, {});
    await certificates.at(1);
    certificates.cancel();
    await quiet();
    expect(stream.received).toHaveLength(3);
  });

  it('of one identity is not told of another’s', async () => {
    world.replaceEntries([ownEntry('a'), ownEntry('b', { witSvidTtl: 10 * MINUTE })]);
    const stream = world.client.stream(fetchWITSVID, { spiffeId: 'spiffe://example.org/a' });
    const all = world.client.stream(fetchWITSVID, {});
    await Promise.all([stream.at(1), all.at(1)]);
    await world.clock.elapse(6 * MINUTE);
    await all.at(2);
    await quiet();
    expect(stream.received).toHaveLength(1);
  });

  it('ends when the last entry is withdrawn; the key is gone and the token on the denylist', async () => {
    const stream = world.client.stream(fetchWITSVID, {});
    const svid = tokenIn(await stream.at(1));
    const key = [...world.leases][0]?.wit.current?.privateKey;
    expect(key?.destroyed).toBe(false);
    world.replaceEntries([]);
    expect(await stream.ended).toEqual({ code: 'PERMISSION_DENIED', details: 'no identity issued' });
    expect(key?.destroyed).toBe(true);
    expect(await world.client.told(validateWITSVID, { svid })).toEqual({
      code: 'INVALID_ARGUMENT',
      details: 'token was revoked (privilegeWithdrawn)',
    });
  });

  it('gives two connections of one process the same, and its key to no log and no record', async () => {
    const stream = world.client.stream(fetchWITSVID, {});
    const { svids } = await stream.at(1);
    const { d = '' } = JSON.parse(svids[0]?.witSvidKey ?? '{}') as { d?: string };
    expect(d).toHaveLength(43);
    // Each is sent a message of its own: one that was wiped is not handed out again.
    const again = await world.connect().stream(fetchWITSVID, {}).at(1);
    expect(again.svids[0]?.witSvidKey).toBe(svids[0]?.witSvidKey);
    expect(JSON.stringify(world.log.lines)).not.toContain(d);
    expect(JSON.stringify(world.ledger.events)).not.toContain(d);
  });
});

describe('the WIT bundles', () => {
  it('hold WIT keys alone, each with kid, alg and use, and of no key the private half', async () => {
    const { bundles } = await world.client.stream(fetchWITBundles, {}).at(1);
    expect(Object.keys(bundles).toSorted()).toEqual(['spiffe://example.org', 'spiffe://other.org']);
    const jwt = await world.client.stream(fetchJWTBundles, {}).at(1);
    const jwtKeys = Buffer.from(jwt.bundles['spiffe://example.org'] ?? []).toString();
    for (const text of Object.values(bundles)) {
      const jwks = JSON.parse(text) as { keys: { kid: string; use: string }[] };
      expect(jwks.keys).toHaveLength(1);
      const members = ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'];
      for (const key of jwks.keys) {
        expect(Object.keys(key).toSorted()).toEqual(members);
        expect(key.use).toBe('wit-svid');
        expect(jwtKeys).not.toContain(key.kid);
      }
    }
    // A foreign domain that has WIT keys alone is none for those who ask for JWT keys.
    expect(Object.keys(jwt.bundles)).toEqual(['spiffe://example.org']);
    expect(world.issuer.counts.wit).toBe(0);
  });

  it('are told again when a WIT key changes, and not when a JWT key does; a domain without WIT keys is left out', async () => {
    const stream = world.client.stream(fetchWITBundles, {});
    await stream.at(1);
    const own = world.bundle.value;
    const [key] = own?.jwtAuthorities ?? [];
    if (own === undefined || key === undefined) throw new Error('no bundle');
    const another = { ...key, kid: 'x', jwk: { ...key.jwk, kid: 'x' } };
    world.bundle.set({ ...own, jwtAuthorities: [...own.jwtAuthorities, another] });
    await quiet();
    expect(stream.received).toHaveLength(1);
    world.federated.set(new Map([[other, { ...foreign, witAuthorities: [], jwtAuthorities: [key] }]]));
    expect(Object.keys((await stream.at(2)).bundles)).toEqual(['spiffe://example.org']);
    world.bundle.set({ ...own, witAuthorities: [...own.witAuthorities, another] });
    expect(JSON.parse((await stream.at(3)).bundles['spiffe://example.org'] ?? '').keys).toHaveLength(2);
  });
});

describe('a WIT-SVID that is to be validated', () => {
  it('is told with all its claims and the key that has to be proven', async () => {
    const svid = tokenIn(await world.client.stream(fetchWITSVID, {}).at(1));
    const { claims, confirmationKey, spiffeId } = await world.client.call(validateWITSVID, { svid });
    expect(spiffeId).toBe('spiffe://example.org/web');
    expect(claims).toEqual(decodeJwt(svid));
    expect({ jwk: JSON.parse(confirmationKey) }).toEqual(decodeJwt(svid)['cnf']);
    expect(world.ledger.uses).toMatchObject([{ type: 'svid.validated', kind: 'wit', spiffe_id: spiffeId }]);
  });

  it('of a federated domain is valid only for whom an entry federates with it', async () => {
    const request = { svid: await foreignToken() };
    expect((await world.client.call(validateWITSVID, request)).spiffeId).toBe('spiffe://other.org/billing');
    world.replaceEntries([ownEntry('web')]);
    expect(await world.client.told(validateWITSVID, request)).toEqual({
      code: 'INVALID_ARGUMENT',
      details: 'token is of trust domain other.org, whose bundle is not known here',
    });
  });

  it('is refused with the reason where it is something else', async () => {
    const { svids } = await world.client.call(fetchJWTSVID, { audience: ['a'] });
    expect(await world.client.told(validateWITSVID, { svid: svids[0]?.svid ?? '' })).toEqual({
      code: 'INVALID_ARGUMENT',
      details: 'token has a typ other than wit+jwt',
    });
  });
});
