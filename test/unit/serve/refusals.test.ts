import { afterEach, describe, expect, it } from 'vitest';
import { WorkloadExtension } from '../../../agent/gen/workload_extension_pb.js';
import { SpiffeWorkloadAPI } from '../../../agent/gen/workload_pb.js';
import type { WorldOptions } from '../../support/api-world.ts';
import { apiWorld, ownEntry } from '../../support/api-world.ts';
import { until } from '../../support/processes.ts';

const {
  fetchX509SVID,
  fetchX509Bundles,
  fetchJWTSVID,
  fetchJWTBundles,
  validateJWTSVID,
  fetchWITSVID,
  fetchWITBundles,
} = SpiffeWorkloadAPI.method;
const { validateWITSVID } = WorkloadExtension.method;

let world: Awaited<ReturnType<typeof apiWorld>>;

async function open(entries: Parameters<typeof apiWorld>[0], options?: WorldOptions) {
  world = await apiWorld(entries, options);
  return world;
}

/** How each call of the API ends when it is made with these terms. */
async function allTold(terms: { header?: readonly string[] } = {}) {
  const { client } = world;
  return {
    fetchX509SVID: await client.stream(fetchX509SVID, {}, terms).ended,
    fetchX509Bundles: await client.stream(fetchX509Bundles, {}, terms).ended,
    fetchJWTSVID: await client.told(fetchJWTSVID, { audience: ['a'] }, terms),
    fetchJWTBundles: await client.stream(fetchJWTBundles, {}, terms).ended,
    validateJWTSVID: await client.told(validateJWTSVID, { audience: 'a', svid: 'x' }, terms),
    fetchWITSVID: await client.stream(fetchWITSVID, {}, terms).ended,
    fetchWITBundles: await client.stream(fetchWITBundles, {}, terms).ended,
    validateWITSVID: await client.told(validateWITSVID, { svid: 'x' }, terms),
  };
}

function each(told: object, except: object = {}) {
  return {
    fetchX509SVID: told,
    fetchX509Bundles: told,
    fetchJWTSVID: told,
    fetchJWTBundles: told,
    validateJWTSVID: told,
    fetchWITSVID: told,
    fetchWITBundles: told,
    validateWITSVID: told,
    ...except,
  };
}

const NO_IDENTITY = { code: 'PERMISSION_DENIED', details: 'no identity issued' };

afterEach(async () => {
  expect(world.issuer.counts).toMatchObject({ x509: 0, jwt: 0, wit: 0 });
  await until(() => world.server.calls === 0, 'no call is under way');
  expect(world.leases.workloads).toBe(0);
  await world.close();
  expect(world.clock.alarms).toBe(0);
});

describe('the security header', () => {
  it.each([
    ['missing', []],
    ['twice', ['true', 'true']],
    ['false', ['false']],
    ['True', ['True']],
    ['empty', ['']],
    ['1', ['1']],
    ['true, and false', ['true', 'false']],
    ['true with another beside it', ['true,x']],
  ])('%s: every call is refused, and nobody is attested', async (_how, header) => {
    await open([ownEntry('web')]);
    const refused = { code: 'INVALID_ARGUMENT', details: 'security header missing from request' };
    expect(await allTold({ header })).toEqual(each(refused));
    expect(await world.client.stream(fetchWITSVID, {}, { header }).ended).toEqual(refused);
    expect(await world.client.stream(fetchWITBundles, {}, { header }).ended).toEqual(refused);
  });
});

describe('a caller', () => {
  it('that no entry matches has no identity, but may have tokens validated', async () => {
    await open([]);
    const invalid = {
      code: 'INVALID_ARGUMENT',
      details: 'token is no JWS in compact serialization with a JSON header and claims',
    };
    expect(await allTold()).toEqual(each(NO_IDENTITY, { validateJWTSVID: invalid, validateWITSVID: invalid }));
  });

  it('whose process is over has no identity, and the log says why', async () => {
    await open([ownEntry('web')]);
    world.listener.callers.of = (peer) => {
      const known = Object.getPrototypeOf(world.listener.callers).of.call(world.listener.callers, peer);
      known.instance.finish('exited');
      return Object.getPrototypeOf(world.listener.callers).of.call(world.listener.callers, peer);
    };
    expect(await world.client.told(fetchJWTSVID, { audience: ['a'] })).toEqual(NO_IDENTITY);
    expect(world.log.lines).toContainEqual({
      level: 'warn',
      event: 'serve.refused',
      message: expect.stringMatching(
        /^\/SpiffeWorkloadAPI\/FetchJWTSVID: process \d+, which opened connection workload-\d+, has exited$/,
      ),
      fields: { path: '/SpiffeWorkloadAPI/FetchJWTSVID', reason: 'CALLER_UNKNOWN' },
    });
  });

  it('of whom an attestor cannot tell is to come again, whatever it asks', async () => {
    await open([ownEntry('web')]);
    world.fault.attestation = 'fails';
    expect(await allTold()).toEqual(each({ code: 'UNAVAILABLE', details: 'workload attestation failed' }));
  });

  it('waits for attestation no longer than the deadline, and then is to come again', async () => {
    await open([ownEntry('web')]);
    world.fault.attestation = 'hangs';
    const told = world.client.told(fetchJWTSVID, { audience: ['a'] });
    await until(() => world.listener.admission.attestations === 1, 'it is being attested');
    await world.clock.elapse(5000);
    expect(await told).toEqual({ code: 'UNAVAILABLE', details: 'workload attestation failed' });
  });

  it('over the limit of attestations is to come again', async () => {
    await open([ownEntry('web')], { limits: { maxAttestations: 1 } });
    // Another process' attestation takes the one place.
    const leave = world.listener.admission.attestation('uid 4242');
    expect(await world.client.told(fetchJWTSVID, { audience: ['a'] })).toEqual({
      code: 'UNAVAILABLE',
      details: '1 attestations are under way, and peer.max_attestations allows no more; try again',
    });
    leave();
  });
});

describe('an authority that is away', () => {
  it('with nothing cached makes callers come again; bundles are told, and tokens validated', async () => {
    await open([ownEntry('web')]);
    world.fault.authority = true;
    const away = { code: 'UNAVAILABLE', details: 'the authority cannot sign now' };
    expect(await world.client.stream(fetchX509SVID, {}).ended).toEqual(away);
    expect(await world.client.told(fetchJWTSVID, { audience: ['a'] })).toEqual(away);
    const bundles = world.client.stream(fetchX509Bundles, {});
    expect(Object.keys((await bundles.at(1)).bundles)).toEqual(['spiffe://example.org']);
    bundles.cancel();
    await bundles.ended;
    await until(() => world.server.calls === 0, 'the stream is over');
    await world.clock.elapse(1);
  });
});

describe('arguments', () => {
  it.each([
    ['no audience', { audience: [] }, 'audience must be specified'],
    ['an empty audience', { audience: [''] }, 'audience must be specified'],
    ['an empty audience among others', { audience: ['a', ''] }, 'audience must be specified'],
    [
      'an audience with a control character',
      { audience: ['a\n'] },
      'an audience has a control character or is no UTF-8',
    ],
    ['an audience that is too long', { audience: ['a'.repeat(1025)] }, 'an audience is longer than 1024 bytes'],
    [
      'an id of another scheme',
      { audience: ['a'], spiffeId: 'https://example.org/web' },
      'invalid requested SPIFFE ID: SPIFFE ID "https://example.org/web" does not start with spiffe://',
    ],
    [
      'an id with an empty segment',
      { audience: ['a'], spiffeId: 'spiffe://example.org//web' },
      'invalid requested SPIFFE ID: SPIFFE ID "spiffe://example.org//web" has an empty path segment',
    ],
    [
      'an id without a trust domain',
      { audience: ['a'], spiffeId: 'spiffe://' },
      'invalid requested SPIFFE ID: SPIFFE ID "spiffe://" has a trust domain that is empty; name one, such as example.org',
    ],
  ])('FetchJWTSVID with %s', async (_what, request, details) => {
    await open([ownEntry('web')]);
    expect(await world.client.told(fetchJWTSVID, request)).toEqual({ code: 'INVALID_ARGUMENT', details });
    expect(world.instances.size).toBe(1);
  });

  it.each([
    ['no audience', { svid: 'x' }, 'audience must be specified'],
    ['no token', { audience: 'a' }, 'svid must be specified'],
    ['a token of 17 KiB', { audience: 'a', svid: 'x'.repeat(17 * 1024) }, 'token is longer than 16384 bytes'],
  ])('ValidateJWTSVID with %s', async (_what, request, details) => {
    await open([ownEntry('web')]);
    expect(await world.client.told(validateJWTSVID, request)).toEqual({ code: 'INVALID_ARGUMENT', details });
  });

  it('an id that is not the caller’s gives no identity', async () => {
    await open([ownEntry('web')]);
    const request = { audience: ['a'], spiffeId: 'spiffe://example.org/other' };
    expect(await world.client.told(fetchJWTSVID, request)).toEqual(NO_IDENTITY);
  });

  it('a thousand audiences are more than policy.max_audiences allows: nothing is signed', async () => {
    await open([ownEntry('web')]);
    const audience = Array.from({ length: 1000 }, (_, index) => `audience-${index}`);
    expect(await world.client.told(fetchJWTSVID, { audience })).toEqual(NO_IDENTITY);
    expect(world.log.lines).toContainEqual(
      expect.objectContaining({
        event: 'policy.refused',
        message: 'a token for 1000 audiences was asked for; policy.max_audiences allows 16',
      }),
    );
  });

  it('no token at all, and an id that is none, are told by their names', async () => {
    await open([ownEntry('web')]);
    const missing = { code: 'INVALID_ARGUMENT', details: 'svid must be specified' };
    expect(await world.client.told(validateWITSVID, {})).toEqual(missing);
    expect(await world.client.stream(fetchWITSVID, { spiffeId: 'https://example.org' }).ended).toEqual({
      code: 'INVALID_ARGUMENT',
      details: expect.stringMatching(/^invalid requested SPIFFE ID: /),
    });
    expect(await world.client.stream(fetchWITSVID, { spiffeId: 'spiffe://example.org/other' }).ended).toEqual(
      NO_IDENTITY,
    );
  });

  it('the WIT profile, where it is switched off, is not there for anybody who asks in order', async () => {
    await open([ownEntry('web')], { wit: false });
    const off = { code: 'UNIMPLEMENTED', details: 'the WIT-SVID profile is switched off' };
    expect(await world.client.stream(fetchWITSVID, {}).ended).toEqual(off);
    expect(await world.client.stream(fetchWITBundles, {}).ended).toEqual(off);
    expect(await world.client.told(validateWITSVID, { svid: 'x' })).toEqual(off);
    const noHeader = { code: 'INVALID_ARGUMENT', details: 'security header missing from request' };
    expect(await world.client.stream(fetchWITSVID, {}, { header: [] }).ended).toEqual(noHeader);
    expect(world.bundle.value?.witAuthorities).toEqual([]);
  });
});

describe('a message', () => {
  it.each([
    ['1 MiB of one audience', { audience: ['a'.repeat(2 ** 20)] }],
    ['1 MiB of audiences', { audience: Array.from({ length: 1024 }, () => 'a'.repeat(1022)) }],
    ['a little over 64 KiB', { audience: ['a'.repeat(64 * 1024)] }],
  ])('of %s exhausts what a message may be', async (_what, request) => {
    await open([ownEntry('web')]);
    expect(await world.client.told(fetchJWTSVID, request)).toEqual({
      code: 'RESOURCE_EXHAUSTED',
      details: expect.stringMatching(/^Received message larger than max \(\d+ vs 65536\)$/),
    });
    // Another caller does not notice.
    expect(await world.connect().told(validateJWTSVID, { audience: 'a' })).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});

describe('calls over the limit of a connection', () => {
  it('are told so; other connections, and this one later, are served', async () => {
    await open([ownEntry('web')], { limits: { maxCallsPerConnection: 3 } });
    const streams = Array.from({ length: 3 }, () => world.client.stream(fetchX509Bundles, {}));
    await Promise.all(streams.map((stream) => stream.at(1)));
    const details = '3 calls are under way on one connection; peer.max_calls_per_connection allows 3';
    expect(await world.client.told(fetchJWTSVID, { audience: [] })).toEqual({ code: 'RESOURCE_EXHAUSTED', details });
    expect(await world.client.stream(fetchX509Bundles, {}).ended).toEqual({ code: 'RESOURCE_EXHAUSTED', details });
    expect(await world.connect().told(fetchJWTSVID, { audience: [] })).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(world.listener.refusals.counts.get('too-many-calls')).toBe(2);
    streams[0]?.cancel();
    await until(() => world.server.calls === 2, 'the cancelled call is counted off');
    const again = world.client.stream(fetchX509Bundles, {});
    await again.at(1);
    for (const stream of [again, ...streams]) stream.cancel();
  });
});
