import { afterEach, describe, expect, it } from 'vitest';
import { parseAudiences } from '../../../agent/kernel/audience.ts';
import { MayflyError } from '../../../agent/kernel/errors.ts';
import { parseSelector } from '../../../agent/kernel/selector.ts';
import { parseSpiffeId } from '../../../agent/kernel/spiffe-id.ts';
import { plainEntry } from '../../support/entry.ts';
import { livingInstance } from '../../support/instance.ts';
import { follow, identitiesOf, leaseWorld, MINUTE } from '../../support/lease-world.ts';

const A = parseAudiences(['a']);
const cannotTell = new MayflyError('ATTESTATION_FAILED', 'cannot tell');

let world: ReturnType<typeof leaseWorld>;
afterEach(async () => {
  await world.close();
  expect(world.clock.alarms).toBe(0);
});

/** Holds up every certificate that is signed from now on, until it is told to go on. */
function holdUpSigning(): { waiting(): boolean; goOn(): void } {
  const issueX509 = world.authority.issueX509.bind(world.authority);
  const { promise, resolve } = Promise.withResolvers<void>();
  let waiting = false;
  Object.assign(world.authority, {
    async issueX509(...given: Parameters<typeof issueX509>) {
      waiting = true;
      await promise;
      return issueX509(...given);
    },
  });
  return { waiting: () => waiting, goOn: resolve };
}

describe('a workload of which attestation cannot tell for a while', () => {
  it('is asked about again with growing pauses, then rests', async () => {
    world = leaseWorld([plainEntry('web')]);
    const { clock, fault, attestations, replaceEntries } = world;
    const stream = follow((signal) => identitiesOf(world.leases.of(livingInstance()), signal));
    await stream.at(1);
    await clock.elapse(2000);
    fault.attestation = cannotTell;
    replaceEntries([plainEntry('web', { hint: 'h' })]);
    const before = attestations.length;
    await clock.elapse(10_000);
    expect(attestations.length - before).toBeGreaterThan(2);
    expect(attestations.length - before).toBeLessThan(8);
    fault.attestation = undefined;
    await clock.elapse(30_000);
    expect((await stream.at(2)).svids[0]?.hint).toBe('h');
    const healed = attestations.length;
    await clock.elapse(5 * MINUTE);
    expect(attestations.length).toBe(healed);
    // What could not be told was never a failure to renew what was not due.
    expect([...world.leases][0]?.x509.failure).toBeUndefined();
  });

  it('whose token expires meanwhile is not asked about without a pause', async () => {
    world = leaseWorld([plainEntry('web')]);
    const { clock, fault, attestations } = world;
    const instance = livingInstance();
    const bundles = follow((signal) => world.leases.of(instance).bundles(signal));
    await bundles.at(1);
    await world.leases.of(instance).jwt(A, undefined);
    fault.attestation = cannotTell;
    await clock.elapse(10 * MINUTE);
    expect([...world.leases]).toEqual([]);
    expect(attestations.length).toBeLessThan(40);
    fault.attestation = undefined;
    await clock.elapse(MINUTE);
    bundles.stop();
    expect(await bundles.ended).toBeUndefined();
  });

  it('and whose entries go meanwhile loses its streams and leases afterwards', async () => {
    world = leaseWorld([plainEntry('web')]);
    const { clock, fault, replaceEntries } = world;
    const follower = livingInstance();
    const gone = livingInstance();
    const bundles = follow((signal) => world.leases.of(follower).bundles(signal));
    await bundles.at(1);
    await world.leases.of(gone).jwt(A, undefined);
    await clock.elapse(2000);
    fault.attestation = cannotTell;
    replaceEntries([]);
    await clock.elapse(5000);
    expect([...world.leases]).toHaveLength(1);
    fault.attestation = undefined;
    await clock.elapse(30_000);
    expect(await bundles.ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect([...world.leases]).toEqual([]);
    expect(world.leases.workloads).toBe(0);
  });
});

describe('a process that is not connected', () => {
  it('is let go of when its entry goes', async () => {
    world = leaseWorld([plainEntry('web')]);
    const instance = livingInstance();
    const stream = follow((signal) => identitiesOf(world.leases.of(instance), signal));
    const key = (await stream.at(1)).svids[0]?.svid.privateKey;
    stream.stop();
    await stream.ended;
    expect(instance.holds).toBe(1);
    world.replaceEntries([]);
    await world.clock.elapse(0);
    expect([key?.destroyed, instance.holds, world.leases.workloads]).toEqual([true, 0, 0]);
    expect(world.leases.ended).toEqual(new Map([['entry-removed', 1]]));
  });
});

describe('a stream of bundles', () => {
  it('that was being opened when the process ended ends with it', async () => {
    world = leaseWorld([plainEntry('web')]);
    const instance = livingInstance();
    const signing = holdUpSigning();
    const certificates = follow((signal) => identitiesOf(world.leases.of(instance), signal));
    await world.clock.elapse(0);
    expect(signing.waiting()).toBe(true);
    const bundles = follow((signal) => world.leases.of(instance).bundles(signal));
    await world.clock.elapse(0);
    instance.finish('exited');
    signing.goOn();
    expect(await bundles.ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect(await certificates.ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect([bundles.received, certificates.received]).toEqual([[], []]);
  });

  it('that was being opened when its entry went is told so', async () => {
    world = leaseWorld([plainEntry('web')]);
    const instance = livingInstance();
    const signing = holdUpSigning();
    const certificates = follow((signal) => identitiesOf(world.leases.of(instance), signal));
    await world.clock.elapse(0);
    const bundles = follow((signal) => world.leases.of(instance).bundles(signal));
    await world.clock.elapse(0);
    world.replaceEntries([]);
    signing.goOn();
    expect(await bundles.ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect(await certificates.ended).toMatchObject({ code: 'NO_IDENTITY' });
  });

  it('that is opened while the agent stops delivers nothing more', async () => {
    world = leaseWorld([plainEntry('web')]);
    const instance = livingInstance();
    const signing = holdUpSigning();
    const certificates = follow((signal) => identitiesOf(world.leases.of(instance), signal));
    await world.clock.elapse(0);
    const bundles = follow((signal) => world.leases.of(instance).bundles(signal));
    await world.clock.elapse(0);
    world.leases.close();
    signing.goOn();
    expect(await bundles.ended).toMatchObject({ code: 'SHUTTING_DOWN' });
    expect(await certificates.ended).toMatchObject({ code: 'SHUTTING_DOWN' });
    expect([bundles.received, certificates.received]).toEqual([[], []]);
    await world.clock.elapse(0);
    expect(instance.holds).toBe(0);
  });
});

describe('a token', () => {
  it('of an identity that its entry no longer names is not handed out, also while a renewal is under way', async () => {
    world = leaseWorld([plainEntry('web')]);
    const workload = world.leases.of(livingInstance());
    const [old] = await workload.jwt(A, undefined);
    const signing = holdUpSigning();
    const stream = follow((signal) => identitiesOf(workload, signal));
    await world.clock.elapse(0);
    expect(signing.waiting()).toBe(true);
    world.replaceEntries([plainEntry('web', { spiffeId: parseSpiffeId('spiffe://example.org/shop') })]);
    expect(workload.cachedJwt(A, undefined)).toBeUndefined();
    const [fresh] = await workload.jwt(A, undefined);
    expect([old?.svid.spiffeId, fresh?.svid.spiffeId]).toEqual([
      'spiffe://example.org/web',
      'spiffe://example.org/shop',
    ]);
    signing.goOn();
    expect((await stream.at(1)).svids.map(({ svid }) => svid.spiffeId)).toEqual(['spiffe://example.org/shop']);
  });

  it.each([
    ['allows its audience no more', { audiences: parseAudiences(['b']) }],
    ['gives a shorter life', { jwtSvidTtl: MINUTE }],
    ['ends earlier', { expiresAt: Date.UTC(2026, 0, 1) + MINUTE }],
  ])('from the cache is not handed out when its entry %s', async (_how, terms) => {
    world = leaseWorld([plainEntry('web')]);
    const workload = world.leases.of(livingInstance());
    await workload.jwt(A, undefined);
    expect(workload.cachedJwt(A, undefined)).toHaveLength(1);
    world.replaceEntries([plainEntry('web', terms)]);
    expect(workload.cachedJwt(A, undefined)).toBeUndefined();
    const later = await workload.jwt(A, undefined).catch((error: unknown) => error);
    if ('audiences' in terms) expect(later).toMatchObject({ code: 'POLICY_REFUSED' });
    else expect(later).toMatchObject([{ svid: { expiresAt: world.clock.now() + MINUTE } }]);
  });

  it('is handed out again when its entry was read again and says the same', async () => {
    world = leaseWorld([plainEntry('web')]);
    const workload = world.leases.of(livingInstance());
    const [first] = await workload.jwt(A, undefined);
    world.replaceEntries([
      plainEntry('web', { source: 'moved.yaml:1' }),
      plainEntry('more', { selectors: [parseSelector('unix:uid:1')] }),
    ]);
    const [second] = await workload.jwt(A, undefined);
    expect(second?.svid).toBe(first?.svid);
    expect(workload.cachedJwt(A, undefined)?.[0]?.svid).toBe(first?.svid);
  });
});

describe('a certificate', () => {
  it('that was being issued when the terms of its entry changed is issued again', async () => {
    world = leaseWorld([plainEntry('web')]);
    const instance = livingInstance();
    const signing = holdUpSigning();
    const stream = follow((signal) => identitiesOf(world.leases.of(instance), signal));
    await world.clock.elapse(0);
    world.replaceEntries([plainEntry('web', { x509SvidTtl: MINUTE })]);
    // A token brings the new entry to the lease before the certificate is there.
    await world.leases.of(instance).jwt(A, undefined);
    signing.goOn();
    await world.clock.elapse(0);
    const newest = stream.received.at(-1)?.svids[0]?.svid;
    expect((newest?.expiresAt ?? 0) - world.clock.now()).toBe(MINUTE);
  });
});
