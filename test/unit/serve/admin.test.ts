import { timestampMs } from '@bufbuild/protobuf/wkt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Admin } from '../../../agent/gen/admin_pb.js';
import { SpiffeWorkloadAPI } from '../../../agent/gen/workload_pb.js';
import { parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import { parseBundle } from '../../../agent/svid/bundle-json.ts';
import type { ApiWorld } from '../../support/api-world.ts';
import { apiWorld, ownEntry } from '../../support/api-world.ts';
import { HOUR, MINUTE } from '../../support/lease-world.ts';

const { getStatus, listEntries, listLeases, reload, watchBundle } = Admin.method;
const { fetchX509SVID, fetchJWTSVID } = SpiffeWorkloadAPI.method;
const terms = { header: [] };
const uid = process.getuid?.() ?? 0;

let world: ApiWorld;
beforeEach(async () => {
  world = await apiWorld([ownEntry('web')]);
});
afterEach(() => world.close());

describe('the admin service', () => {
  it('tells the status that it was lent', async () => {
    expect(await world.client.call(getStatus, {}, terms)).toMatchObject({ pid: 7, serving: true });
  });

  it('lists entries with all that is set, durations in seconds', async () => {
    world.replaceEntries([
      ownEntry('b', {
        owner: 'team@example.org',
        x509SvidTtl: 30 * MINUTE,
        jwtSvidTtl: MINUTE,
        dnsNames: ['b.internal'],
        hint: 'h',
        federatesWith: [parseTrustDomain('other.org')],
        expiresAt: Date.UTC(2027, 0, 1),
      }),
      ownEntry('a'),
    ]);
    const { entries, digest } = await world.client.call(listEntries, {}, terms);
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
    expect(entries).toMatchObject([
      { id: 'a', owner: '', x509SvidTtl: 0, jwtSvidTtl: 0, dnsNames: [], hint: '', federatesWith: [] },
      {
        id: 'b',
        spiffeId: 'spiffe://example.org/b',
        selectors: [`unix:uid:${uid}`],
        owner: 'team@example.org',
        x509SvidTtl: 1800,
        jwtSvidTtl: 60,
        dnsNames: ['b.internal'],
        hint: 'h',
        federatesWith: ['other.org'],
        source: 'b.yaml:1',
      },
    ]);
    const [none, some] = entries.map(({ expiresAt }) => expiresAt);
    expect(none).toBeUndefined();
    expect(some && timestampMs(some)).toBe(Date.UTC(2027, 0, 1));
  });

  it('lists the leases of living processes, and why one could not be renewed', async () => {
    expect((await world.client.call(listLeases, {}, terms)).leases).toEqual([]);
    const start = world.clock.now();
    const stream = world.client.stream(fetchX509SVID, {});
    await stream.at(1);
    await world.client.call(fetchJWTSVID, { audience: ['a'] });
    const { leases } = await world.client.call(listLeases, {}, terms);
    expect(leases).toMatchObject([
      {
        pid: process.pid,
        uid,
        entryId: 'web',
        spiffeId: 'spiffe://example.org/web',
        serial: expect.stringMatching(/^[0-9a-f]+$/),
        tokens: 1,
        rotations: 0,
        renewalError: '',
      },
    ]);
    const [lease] = leases;
    expect([lease?.createdAt, lease?.renewsAt, lease?.expiresAt].map((time) => time && timestampMs(time))).toEqual([
      start,
      start + 30 * MINUTE,
      start + HOUR,
    ]);
    world.fault.authority = true;
    await world.clock.elapse(40 * MINUTE);
    expect((await world.client.call(listLeases, {}, terms)).leases).toMatchObject([
      { serial: lease?.serial, renewalError: 'the authority is away' },
    ]);
    world.fault.authority = false;
    await world.clock.elapse(MINUTE);
    await stream.at(2);
    expect((await world.client.call(listLeases, {}, terms)).leases).toMatchObject([{ rotations: 1, renewalError: '' }]);
  });

  it('tells the bundle of its own trust domain, and each newer one', async () => {
    const stream = world.client.stream(watchBundle, {}, terms);
    const first = await stream.at(1);
    expect(first.trustDomain).toBe('example.org');
    expect(parseBundle(parseTrustDomain('example.org'), first.bundle)).toMatchObject({
      sequence: 1,
      refreshHint: 300,
      x509Authorities: world.bundle.value?.x509Authorities,
    });
    world.clock.step(12 * HOUR);
    const { jwtAuthorities, sequence } = parseBundle(parseTrustDomain('example.org'), (await stream.at(2)).bundle);
    expect([jwtAuthorities.length, sequence]).toEqual([2, 2]);
    expect(stream.received).toHaveLength(2);
    stream.cancel();
  });

  it('reloads, and tells what could not be loaded', async () => {
    expect((await world.client.call(reload, {}, terms)).errors).toEqual([]);
    world.reloadErrors.push('entries/web.yaml:3: unknown key');
    expect((await world.client.call(reload, {}, terms)).errors).toEqual(['entries/web.yaml:3: unknown key']);
  });
});
