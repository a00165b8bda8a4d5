import { timestampMs } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Admin } from '../../../agent/gen/admin_pb.js';
import { SpiffeWorkloadAPI } from '../../../agent/gen/workload_pb.js';
import { parseSelector } from '../../../agent/kernel/selector.ts';
import { parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import { parseBundle } from '../../../agent/svid/bundle-json.ts';
import type { ApiWorld } from '../../support/api-world.ts';
import { apiWorld, ownEntry } from '../../support/api-world.ts';
import { HOUR, MINUTE } from '../../support/lease-world.ts';

const { attest, getStatus, listEntries, listLeases, reload, revoke, watchBundle } = Admin.method;
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

  it('tells what a process is and would get, and nothing is issued or recorded by that', async () => {
    world.replaceEntries([ownEntry('web', { dnsNames: ['web.internal'] }), ownEntry('x', { hint: 'h' })]);
    const before = [...world.ledger.events];
    const answer = await world.client.call(attest, { pid: process.pid, entryId: 'web' }, terms);
    expect(answer).toMatchObject({
      pid: process.pid,
      uid,
      executable: process.execPath,
      entries: [
        { id: 'web', spiffeId: 'spiffe://example.org/web', dnsNames: ['web.internal'], hint: '', barred: false },
        { id: 'x', hint: 'h' },
      ],
      refused: [],
      whyNot: [],
      failure: '',
    });
    expect(answer.selectors).toContain(`unix:uid:${uid}`);
    expect(world.ledger.events).toEqual(before);
    expect(world.leases.workloads).toBe(0);
    await expect(world.client.call(attest, { pid: 2 ** 30 }, terms)).rejects.toMatchObject({
      code: status.NOT_FOUND,
      details: `there is no process ${2 ** 30} in the agent's pid namespace`,
    });
    await expect(world.client.call(attest, { pid: -1 }, terms)).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
    await expect(world.client.call(attest, { pid: process.pid, entryId: 'y' }, terms)).rejects.toMatchObject({
      code: status.NOT_FOUND,
    });
  });

  it('tells no variable of a container that no entry asks for: it may be a password', async () => {
    const asked = parseSelector('docker:env:STAGE=prod');
    world.found.push(asked, parseSelector('docker:env:PASSWORD=hunter2'), parseSelector('docker:label:a:b=c'));
    world.replaceEntries([ownEntry('web', { selectors: [asked] })]);
    const { selectors } = await world.client.call(attest, { pid: process.pid }, terms);
    expect(selectors.filter((selector) => selector.startsWith('docker:'))).toEqual([
      'docker:env:STAGE=prod',
      'docker:env:PASSWORD=(hidden)',
      'docker:label:a:b=c',
    ]);
  });

  it('tells from what a process is barred, and of which attestor it cannot be told', async () => {
    await world.client.stream(fetchX509SVID, {}).at(1);
    await world.client.call(
      revoke,
      { target: { case: 'pid', value: process.pid }, reason: 'seen', allowReissue: false },
      terms,
    );
    const { entries } = await world.client.call(attest, { pid: process.pid }, terms);
    expect(entries).toMatchObject([{ id: 'web', barred: true }]);
    world.fault.attestation = 'fails';
    await world.clock.elapse(1100);
    expect(await world.client.call(attest, { pid: process.pid }, terms)).toMatchObject({
      uid,
      selectors: [],
      entries: [],
      failure: `attestor faulty about process ${process.pid}: its daemon is down`,
    });
  });

  it('reloads, and tells what could not be loaded', async () => {
    expect((await world.client.call(reload, {}, terms)).errors).toEqual([]);
    world.reloadErrors.push('entries/web.yaml:3: unknown key');
    expect((await world.client.call(reload, {}, terms)).errors).toEqual(['entries/web.yaml:3: unknown key']);
  });
});
