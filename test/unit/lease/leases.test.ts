import { afterEach, describe, expect, it } from 'vitest';
import { parseAudiences } from '../../../agent/kernel/audience.ts';
import { MayflyError } from '../../../agent/kernel/errors.ts';
import { parseSelector } from '../../../agent/kernel/selector.ts';
import { parseSpiffeId, parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import { plainEntry } from '../../support/entry.ts';
import { livingInstance } from '../../support/instance.ts';
import { follow, HOUR, identitiesOf, leaseWorld, MINUTE } from '../../support/lease-world.ts';

const A = parseAudiences(['a']);
const worlds: ReturnType<typeof leaseWorld>[] = [];

function world(...entries: Parameters<typeof leaseWorld>[0]) {
  const made = leaseWorld(entries);
  worlds.push(made);
  return made;
}

afterEach(async () => {
  for (const made of worlds.splice(0)) {
    await made.close();
    expect(made.clock.alarms).toBe(0);
  }
});

describe('a certificate', () => {
  it('is one for all streams of a process, and another for another process of the same entry', async () => {
    const { leases, minted } = world(plainEntry('web'));
    const one = livingInstance();
    const first = await follow((signal) => identitiesOf(leases.of(one), signal)).at(1);
    const second = await follow((signal) => identitiesOf(leases.of(one), signal)).at(1);
    const other = await follow((signal) => identitiesOf(leases.of(livingInstance()), signal)).at(1);
    expect(second).toBe(first);
    expect(other.svids[0]?.svid.serial).not.toBe(first.svids[0]?.svid.serial);
    expect(
      other.svids[0]?.svid.privateKey.reveal().equals(first.svids[0]?.svid.privateKey.reveal() ?? Buffer.of()),
    ).toBe(false);
    expect(minted).toHaveLength(2);
  });

  it('is made once for streams that open at the same moment', async () => {
    const { leases, minted } = world(plainEntry('web'));
    const one = livingInstance();
    await Promise.all(Array.from({ length: 50 }, () => follow((signal) => identitiesOf(leases.of(one), signal)).at(1)));
    expect(minted).toHaveLength(1);
  });

  it('takes one place among the attestations under way, however many streams the process opens', async () => {
    const { leases, admitted } = world(plainEntry('web'));
    const one = livingInstance();
    const streams = Array.from({ length: 500 }, () => follow((signal) => identitiesOf(leases.of(one), signal)));
    expect(admitted).toEqual({ now: 1, total: 1 });
    await Promise.all(streams.map((stream) => stream.at(1)));
    expect(admitted).toEqual({ now: 0, total: 1 });
  });

  it('is not made, and the process not looked at, where there is no place among the attestations', async () => {
    const { leases, attestations, clock, fault, minted } = world(plainEntry('web'));
    // The table has heard of its first entries by then, and looks at nobody because of them.
    await clock.elapse(1);
    fault.admission = true;
    const stream = follow((signal) => identitiesOf(leases.of(livingInstance()), signal));
    expect(await stream.ended).toMatchObject({ code: 'OVERLOADED' });
    expect(attestations).toHaveLength(0);
    expect(minted).toHaveLength(0);
    expect(leases.workloads).toBe(0);
  });

  it('is not made for a process that no entry matches', async () => {
    const { leases, minted } = world(plainEntry('web'));
    const stream = follow((signal) => leases.of(livingInstance(7)).x509(signal));
    expect(await stream.ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect(minted).toHaveLength(0);
    expect(leases.workloads).toBe(0);
  });

  it('is renewed when half of its life is left, attested and decided anew, and its old key is gone', async () => {
    const { leases, clock, attestations } = world(plainEntry('web'));
    const stream = follow((signal) => identitiesOf(leases.of(livingInstance()), signal));
    const before = (await stream.at(1)).svids[0];
    await clock.elapse(29 * MINUTE);
    expect(stream.received).toHaveLength(1);
    const looked = attestations.length;
    await clock.elapse(2 * MINUTE);
    const after = (await stream.at(2)).svids[0];
    expect(after?.svid.serial).not.toBe(before?.svid.serial);
    expect(attestations.length).toBe(looked + 1);
    expect(before?.svid.privateKey.destroyed).toBe(true);
    expect([...leases][0]?.x509.rotations).toBe(1);
  });

  it('is not renewed while nobody follows, and its lease ends when it expires', async () => {
    const { leases, clock, minted } = world(plainEntry('web'));
    const instance = livingInstance();
    const stream = follow((signal) => identitiesOf(leases.of(instance), signal));
    await stream.at(1);
    stream.stop();
    await stream.ended;
    await clock.elapse(59 * MINUTE);
    expect([...leases]).toHaveLength(1);
    expect(instance.holds).toBe(1);
    await clock.elapse(2 * MINUTE);
    expect([...leases]).toHaveLength(0);
    expect(instance.holds).toBe(0);
    expect(minted).toHaveLength(1);
    expect(leases.ended.get('expired')).toBe(1);
  });

  it('is the same for a process that comes back, and a new one when the old was due', async () => {
    const { leases, clock } = world(plainEntry('web'));
    const instance = livingInstance();
    const fetch = async () => {
      const stream = follow((signal) => identitiesOf(leases.of(instance), signal));
      const update = await stream.at(1);
      stream.stop();
      await stream.ended;
      return update.svids[0]?.svid.serial;
    };
    const first = await fetch();
    await clock.elapse(10 * MINUTE);
    expect(await fetch()).toBe(first);
    await clock.elapse(25 * MINUTE);
    expect(await fetch()).not.toBe(first);
  });

  it('is renewed at once when the clock is found to have jumped, forward or back', async () => {
    const { leases, clock } = world(plainEntry('web'));
    const stream = follow((signal) => identitiesOf(leases.of(livingInstance()), signal));
    await stream.at(1);
    clock.step(50 * MINUTE);
    await clock.elapse(1000);
    const forward = (await stream.at(2)).svids[0]?.svid;
    expect(forward?.expiresAt).toBeGreaterThan(clock.now() + 59 * MINUTE);
    clock.step(-2 * HOUR);
    await clock.elapse(1000);
    const back = (await stream.at(3)).svids[0]?.svid;
    expect(back?.notBefore).toBeLessThanOrEqual(clock.now());
    expect(back?.expiresAt).toBeLessThanOrEqual(clock.now() + HOUR);
  });

  it('serves on while it cannot be renewed, is retried, and ends its stream only when it expires', async () => {
    const { leases, clock, fault, minted } = world(plainEntry('web'));
    const stream = follow((signal) => identitiesOf(leases.of(livingInstance()), signal));
    await stream.at(1);
    fault.authority = true;
    await clock.elapse(50 * MINUTE);
    expect(stream.received).toHaveLength(1);
    expect([...leases][0]?.x509.failure?.count).toBeGreaterThan(10);
    fault.authority = false;
    await clock.elapse(MINUTE);
    await stream.at(2);
    expect(minted).toHaveLength(2);
    fault.authority = true;
    await clock.elapse(61 * MINUTE);
    expect(await stream.ended).toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
  });

  it('serves on while attestation cannot tell', async () => {
    const { leases, clock, fault } = world(plainEntry('web'));
    const stream = follow((signal) => identitiesOf(leases.of(livingInstance()), signal));
    await stream.at(1);
    fault.attestation = new MayflyError('ATTESTATION_FAILED', 'workload attestation failed');
    await clock.elapse(40 * MINUTE);
    expect(stream.received).toHaveLength(1);
    fault.attestation = undefined;
    await clock.elapse(MINUTE);
    await stream.at(2);
  });

  it('that cannot be signed fails the first call, which may come again', async () => {
    const { leases, fault, clock } = world(plainEntry('web'));
    const instance = livingInstance();
    fault.authority = true;
    expect(await follow((signal) => identitiesOf(leases.of(instance), signal)).ended).toMatchObject({
      code: 'AUTHORITY_UNAVAILABLE',
    });
    expect([...leases]).toHaveLength(1);
    await clock.elapse(1);
    expect(leases.workloads).toBe(0);
    fault.authority = false;
    expect((await follow((signal) => identitiesOf(leases.of(instance), signal)).at(1)).svids).toHaveLength(1);
  });
});

describe('entries that change', () => {
  it('add and withdraw certificates on a stream that goes on', async () => {
    const { leases, replaceEntries } = world(plainEntry('b'));
    const stream = follow((signal) => identitiesOf(leases.of(livingInstance()), signal));
    const before = await stream.at(1);
    replaceEntries([plainEntry('a'), plainEntry('b')]);
    const both = await stream.at(2);
    expect(both.svids.map(({ svid }) => svid.spiffeId)).toEqual(['spiffe://example.org/a', 'spiffe://example.org/b']);
    expect(both.svids[1]).toEqual(before.svids[0]);
    replaceEntries([plainEntry('a')]);
    expect((await stream.at(3)).svids).toHaveLength(1);
    expect(before.svids[0]?.svid.privateKey.destroyed).toBe(true);
    expect(leases.ended.get('entry-removed')).toBe(1);
  });

  it('end the stream when none is left, and a later call begins anew', async () => {
    const { leases, replaceEntries } = world(plainEntry('web'));
    const instance = livingInstance();
    const stream = follow((signal) => identitiesOf(leases.of(instance), signal));
    const bundles = follow((signal) => leases.of(instance).bundles(signal));
    const before = await stream.at(1);
    await bundles.at(1);
    replaceEntries([plainEntry('web', { selectors: [parseSelector('unix:uid:1')] })]);
    expect(await stream.ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect(await bundles.ended).toMatchObject({ code: 'NO_IDENTITY' });
    replaceEntries([plainEntry('web')]);
    const after = await follow((signal) => identitiesOf(leases.of(instance), signal)).at(1);
    expect(after.svids[0]?.svid.serial).not.toBe(before.svids[0]?.svid.serial);
  });

  it('reissue what is in the certificate, and only tell again what is not', async () => {
    const { leases, replaceEntries, minted, clock } = world(plainEntry('web'));
    const stream = follow((signal) => identitiesOf(leases.of(livingInstance()), signal));
    await stream.at(1);
    replaceEntries([plainEntry('web', { owner: 'somebody@example.org', source: 'other.yaml:9' })]);
    await clock.elapse(1000);
    expect(stream.received).toHaveLength(1);
    replaceEntries([plainEntry('web', { hint: 'internal' })]);
    expect((await stream.at(2)).svids[0]?.hint).toBe('internal');
    expect(minted).toHaveLength(1);
    replaceEntries([plainEntry('web', { hint: 'internal', dnsNames: ['web.internal'] })]);
    await stream.at(3);
    expect(minted).toHaveLength(2);
  });

  it('make another lease of an entry that names another identity', async () => {
    const { leases, replaceEntries } = world(plainEntry('web'));
    const stream = follow((signal) => identitiesOf(leases.of(livingInstance()), signal));
    await stream.at(1);
    const [before] = leases;
    replaceEntries([plainEntry('web', { spiffeId: parseSpiffeId('spiffe://example.org/shop') })]);
    expect((await stream.at(2)).svids[0]?.svid.spiffeId).toBe('spiffe://example.org/shop');
    expect([...leases][0]?.id).not.toBe(before?.id);
  });

  it('end by themselves at expires_at, and no certificate outlives it', async () => {
    const start = Date.UTC(2026, 0, 1);
    const { leases, clock } = world(plainEntry('web', { expiresAt: start + 10 * MINUTE }));
    const stream = follow((signal) => identitiesOf(leases.of(livingInstance()), signal));
    expect((await stream.at(1)).svids[0]?.svid.expiresAt).toBe(start + 10 * MINUTE);
    await clock.elapse(10 * MINUTE + 1000);
    expect(await stream.ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect([...leases]).toHaveLength(0);
  });
});

describe('a process that ends', () => {
  it('takes streams, leases and keys with it', async () => {
    const { leases } = world(plainEntry('web'));
    const instance = livingInstance();
    const stream = follow((signal) => identitiesOf(leases.of(instance), signal));
    const key = (await stream.at(1)).svids[0]?.svid.privateKey;
    await leases.of(instance).jwt(A, undefined);
    instance.finish('exited');
    expect(await stream.ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect(key?.destroyed).toBe(true);
    expect([...leases]).toHaveLength(0);
    expect(leases.workloads).toBe(0);
    expect(instance.holds).toBe(0);
    expect(leases.ended.get('exited')).toBe(1);
  });

  it('gets nothing that was under way when it ended', async () => {
    const { leases } = world(plainEntry('web'));
    const instance = livingInstance();
    const stream = follow((signal) => identitiesOf(leases.of(instance), signal));
    const token = leases.of(instance).jwt(A, undefined);
    instance.finish('executed');
    expect(await stream.ended).toMatchObject({ code: expect.stringMatching(/NO_IDENTITY|CALLER_UNKNOWN/) });
    await expect(token).rejects.toMatchObject({ code: expect.stringMatching(/NO_IDENTITY|CALLER_UNKNOWN/) });
    expect(stream.received).toHaveLength(0);
  });
});

describe('tokens', () => {
  it('are handed out again without a new decision, and never to another process', async () => {
    const { leases, issuer } = world(plainEntry('web'));
    const one = livingInstance();
    const [first] = await leases.of(one).jwt(A, undefined);
    expect(leases.of(one).cachedJwt(A, undefined)?.[0]?.svid).toBe(first?.svid);
    const [other] = await leases.of(livingInstance()).jwt(A, undefined);
    expect(other?.svid.jti).not.toBe(first?.svid.jti);
    expect(issuer.counts).toEqual({ x509: 0, jwt: 2, wit: 0, refused: 0, failed: 0 });
  });

  it('come for each identity, or for the one that is asked for', async () => {
    const { leases } = world(plainEntry('a', { hint: 'x' }), plainEntry('b'));
    const workload = leases.of(livingInstance());
    expect((await workload.jwt(A, undefined)).map(({ svid, hint }) => [svid.spiffeId, hint])).toEqual([
      ['spiffe://example.org/a', 'x'],
      ['spiffe://example.org/b', ''],
    ]);
    const only = await workload.jwt(A, parseSpiffeId('spiffe://example.org/b'));
    expect(only.map(({ svid }) => svid.spiffeId)).toEqual(['spiffe://example.org/b']);
    await expect(workload.jwt(A, parseSpiffeId('spiffe://example.org/c'))).rejects.toMatchObject({
      code: 'NO_IDENTITY',
    });
  });

  it('leave out an identity whose entry refuses the audience, and fail where all do', async () => {
    const { leases, issuer } = world(plainEntry('a', { audiences: parseAudiences(['db']) }), plainEntry('b'));
    const workload = leases.of(livingInstance());
    expect((await workload.jwt(A, undefined)).map(({ svid }) => svid.spiffeId)).toEqual(['spiffe://example.org/b']);
    await expect(workload.jwt(A, parseSpiffeId('spiffe://example.org/a'))).rejects.toMatchObject({
      code: 'POLICY_REFUSED',
    });
    expect(issuer.counts.jwt).toBe(1);
  });

  it('keep their lease until the last has expired', async () => {
    const { leases, clock } = world(plainEntry('web'));
    await leases.of(livingInstance()).jwt(A, undefined);
    await clock.elapse(4 * MINUTE);
    expect([...leases]).toHaveLength(1);
    await clock.elapse(2 * MINUTE);
    expect([...leases]).toHaveLength(0);
    expect(leases.workloads).toBe(0);
  });
});

describe('bundles', () => {
  it('are told without a certificate being made, with those that an entry federates with', async () => {
    const other = parseTrustDomain('other.org');
    const { leases, federated, minted, authority } = world(plainEntry('web', { federatesWith: [other] }));
    const stream = follow((signal) => leases.of(livingInstance()).bundles(signal));
    expect((await stream.at(1)).federated).toEqual([]);
    const own = authority.bundle.value;
    if (own === undefined) throw new Error('no bundle');
    const foreign = { ...own, trustDomain: other };
    federated.set(new Map([[other, foreign]]));
    expect((await stream.at(2)).federated).toEqual([foreign]);
    federated.set(new Map());
    expect((await stream.at(3)).federated).toEqual([]);
    expect(minted).toHaveLength(0);
  });

  it('of the own trust domain are for every attested process to verify with', async () => {
    const { leases } = world(plainEntry('web'));
    expect((await leases.of(livingInstance(7)).verifiers()).own.trustDomain).toBe('example.org');
    expect(leases.workloads).toBe(0);
  });
});

describe('stopping', () => {
  it('ends streams with its own reason, and takes no more callers', async () => {
    const { leases } = world(plainEntry('web'));
    const stream = follow((signal) => identitiesOf(leases.of(livingInstance()), signal));
    await stream.at(1);
    leases.close();
    expect(await stream.ended).toMatchObject({ code: 'SHUTTING_DOWN' });
    expect(() => leases.of(livingInstance())).toThrow(expect.objectContaining({ code: 'SHUTTING_DOWN' }));
    expect([...leases]).toHaveLength(0);
  });
});
