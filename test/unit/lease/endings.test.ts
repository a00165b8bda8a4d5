import { afterEach, describe, expect, it } from 'vitest';
import { parseAudiences } from '../../../agent/kernel/audience.ts';
import { parseSelector } from '../../../agent/kernel/selector.ts';
import { parseSpiffeId } from '../../../agent/kernel/spiffe-id.ts';
import { readCrls } from '../../support/crl-reader.ts';
import { plainEntry } from '../../support/entry.ts';
import { livingInstance } from '../../support/instance.ts';
import { follow, HOUR, identitiesOf, leaseWorld, MINUTE } from '../../support/lease-world.ts';

type World = ReturnType<typeof leaseWorld>;

const A = parseAudiences(['a']);
let world: World;
afterEach(async () => {
  await world.close();
  expect(world.clock.alarms).toBe(0);
});

/** The serials on the lists that are out. */
function listed(): readonly string[] {
  return readCrls(world.revocation.forBundles.value?.crls ?? []).flatMap(({ serials }) => serials);
}

/** Lets what was ended in this turn go out. */
const told = () => world.clock.elapse(100);

describe('what is issued', () => {
  it('is in the record before it is delivered, with everything but the key, and no more', async () => {
    world = leaseWorld([plainEntry('web', { owner: 'team@example.org', x509SvidTtl: 30 * MINUTE })]);
    const instance = livingInstance();
    const stream = follow((signal) => identitiesOf(world.leases.of(instance), signal));
    const { svids } = await stream.at(1);
    const [record] = world.ledger.of('svid.issued');
    expect(record).toEqual({
      type: 'svid.issued',
      lease: [...world.leases][0]?.id,
      decision: svids[0]?.svid.decisionId,
      kind: 'x509',
      occasion: 'first',
      instance: { pid: instance.pid, start_time: '1', uid: 1000, gid: 1000 },
      selectors: ['unix:uid:1000'],
      entry: 'web',
      owner: 'team@example.org',
      spiffe_id: 'spiffe://example.org/web',
      serial: svids[0]?.svid.serial,
      issuer: expect.stringMatching(/^[0-9a-f]{40}$/),
      lifetime_asked: 30 * MINUTE,
      lifetime_given: 30 * MINUTE,
      expires_at: '2026-01-01T00:30:00.000Z',
      rule: 'entry',
    });
    await world.clock.elapse(16 * MINUTE);
    await stream.at(2);
    const renewed = world.ledger.of('svid.renewed').at(-1);
    expect(renewed).toMatchObject({ type: 'svid.renewed', parent: record?.decision, lease: record?.lease });
  });

  it('never leaves the agent while there is no room to record it, and does once there is', async () => {
    world = leaseWorld([plainEntry('web')]);
    world.ledger.full = true;
    const instance = livingInstance();
    const refused = follow((signal) => identitiesOf(world.leases.of(instance), signal));
    expect(await refused.ended).toMatchObject({ code: 'DISK_FULL' });
    await expect(world.leases.of(instance).jwt(A, undefined)).rejects.toMatchObject({ code: 'DISK_FULL' });
    expect(refused.received).toEqual([]);
    expect(world.ledger.state.leases.size).toBe(0);
    world.ledger.full = false;
    await follow((signal) => identitiesOf(world.leases.of(instance), signal)).at(1);
    expect(world.ledger.of('svid.issued')).toHaveLength(1);
  });

  it('is bounded in tokens for each process', async () => {
    world = leaseWorld([plainEntry('web')]);
    const workload = world.leases.of(livingInstance());
    for (let index = 0; index < 100; index += 1) await workload.jwt(parseAudiences([`a${index}`]), undefined);
    await expect(workload.jwt(A, undefined)).rejects.toMatchObject({ code: 'POLICY_REFUSED' });
    expect(world.ledger.of('svid.refused')).toMatchObject([{ rule: 'max_tokens', kind: 'jwt' }]);
    await follow((signal) => identitiesOf(world.leases.of(livingInstance()), signal)).at(1);
    await world.leases.of(livingInstance()).jwt(A, undefined);
  });

  it('for a process that dies before it is delivered is revoked, and delivered to nobody', async () => {
    world = leaseWorld([plainEntry('web')]);
    const instance = livingInstance();
    const append = world.ledger.append.bind(world.ledger);
    world.ledger.append = async (event) => {
      const written = append(event);
      instance.finish('exited');
      await written;
    };
    const stream = follow((signal) => identitiesOf(world.leases.of(instance), signal));
    expect(await stream.ended).toMatchObject({ code: 'NO_IDENTITY' });
    await told();
    expect(stream.received).toEqual([]);
    const [issued] = world.ledger.of('svid.issued');
    expect(listed()).toEqual([issued?.serial]);
    expect(world.ledger.state.leases.size).toBe(0);
  });

  it('for a process that died before it was recorded was never issued', async () => {
    world = leaseWorld([plainEntry('web')]);
    const instance = livingInstance();
    const issueX509 = world.authority.issueX509.bind(world.authority);
    Object.assign(world.authority, {
      issueX509: async (...args: Parameters<typeof issueX509>) => {
        const signed = await issueX509(...args);
        instance.finish('exited');
        return signed;
      },
    });
    const stream = follow((signal) => identitiesOf(world.leases.of(instance), signal));
    expect(await stream.ended).toMatchObject({ code: 'NO_IDENTITY' });
    await told();
    expect(world.minted).toHaveLength(1);
    expect(world.ledger.events.filter(({ type }) => type !== 'crl.reserved')).toEqual([]);
    expect(listed()).toEqual([]);
  });
});

it('what no entry entitles a process to is refused, and recorded as often as it is worth', async () => {
  world = leaseWorld([plainEntry('web')]);
  const stranger = livingInstance(4711);
  for (let call = 0; call < 3; call += 1) {
    const stream = follow((signal) => identitiesOf(world.leases.of(stranger), signal));
    expect(await stream.ended).toMatchObject({ code: 'NO_IDENTITY' });
  }
  await expect(world.leases.of(stranger).jwt(A, undefined)).rejects.toMatchObject({ code: 'NO_IDENTITY' });
  const refusals = () => world.ledger.of('caller.refused');
  expect(refusals()).toMatchObject([
    { kind: 'x509', instance: { pid: stranger.pid, uid: 4711 }, selectors: ['unix:uid:4711'] },
    { kind: 'jwt', instance: { pid: stranger.pid } },
  ]);
  await world.clock.elapse(10_000);
  expect(refusals().at(-1)).toMatchObject({ kind: 'x509', repeated: 2 });
  await world.clock.elapse(10_000);
  expect(refusals()).toHaveLength(3);
  expect(world.minted).toEqual([]);
});

describe('the end of a lease', () => {
  it.each([
    ['exited', 'cessationOfOperation'],
    ['executed', 'cessationOfOperation'],
    ['changed-cgroup', 'cessationOfOperation'],
  ] as const)('because its process %s revokes all that has not expired', async (reason, code) => {
    world = leaseWorld([plainEntry('web')]);
    const instance = livingInstance();
    const workload = world.leases.of(instance);
    const stream = follow((signal) => identitiesOf(workload, signal));
    await stream.at(1);
    // Renewed at half an hour: for the rest of the hour there are two that hold.
    await world.clock.elapse(35 * MINUTE);
    const [token] = await workload.jwt(A, undefined);
    const serials = [...world.ledger.of('svid.issued'), ...world.ledger.of('svid.renewed')].flatMap(
      ({ serial }) => serial ?? [],
    );
    instance.finish(reason);
    await told();
    expect(new Set(listed())).toEqual(new Set(serials));
    expect(world.revocation.tokenRevoked(token?.svid.jti ?? '')).toBe(code);
    expect(world.ledger.of('lease.ended')).toMatchObject([{ reason, entry: 'web' }]);
    expect(world.ledger.of('svid.revoked')).toMatchObject([{ reason: code, cause: reason }]);
    // A list is cleared of what has expired.
    await world.clock.elapse(2 * HOUR);
    expect(listed()).toEqual([]);
  });

  it('by its entry is told apart: it went, it means something else, the process is something else', async () => {
    const entries = ['a', 'b', 'c'].map((id) => plainEntry(id));
    world = leaseWorld(entries);
    const stream = follow((signal) => identitiesOf(world.leases.of(livingInstance()), signal));
    await stream.at(1);
    world.replaceEntries([
      plainEntry('b', { spiffeId: parseSpiffeId('spiffe://example.org/other') }),
      plainEntry('c', { selectors: [parseSelector('unix:uid:4711')] }),
    ]);
    await told();
    const reasons = world.ledger.of('lease.ended').map(({ entry, reason }) => [entry, reason]);
    expect(new Map(reasons as [string, string][])).toEqual(
      new Map([
        ['a', 'entry-removed'],
        ['b', 'entry-changed'],
        ['c', 'entry-changed'],
      ]),
    );
    expect(world.ledger.of('svid.revoked').map(({ reason }) => reason)).toEqual(Array(3).fill('privilegeWithdrawn'));
  });

  it('by the policy, which refuses the renewal, has its own reason, and the stream ends', async () => {
    world = leaseWorld([plainEntry('web')]);
    const stream = follow((signal) => identitiesOf(world.leases.of(livingInstance()), signal));
    const { svids } = await stream.at(1);
    const decide = world.policy.decide.bind(world.policy);
    Object.assign(world.policy, {
      decide: async (request: Parameters<typeof decide>[0]) => {
        if (request.occasion !== 'renewal') return decide(request as never);
        return { kind: 'refusal', decisionId: 'd', rule: 'curfew', lifetimeAsked: HOUR, message: 'not at this hour' };
      },
    });
    await world.clock.elapse(35 * MINUTE);
    expect(await stream.ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect(world.ledger.of('lease.ended')).toMatchObject([{ reason: 'refused', detail: 'not at this hour' }]);
    expect(world.ledger.of('svid.refused')).toMatchObject([{ rule: 'curfew', reason: 'not at this hour' }]);
    expect(listed()).toContain(svids[0]?.svid.serial);
  });

  it('by a stop of the agent is none: the next one takes it over', async () => {
    world = leaseWorld([plainEntry('web')]);
    const stream = follow((signal) => identitiesOf(world.leases.of(livingInstance()), signal));
    const { svids } = await stream.at(1);
    world.leases.close();
    expect(await stream.ended).toMatchObject({ code: 'SHUTTING_DOWN' });
    expect(svids[0]?.svid.privateKey.destroyed).toBe(true);
    expect(world.ledger.of('lease.ended')).toEqual([]);
    expect(world.ledger.state.leases.size).toBe(1);
  });

  it('a certificate with a name that its entry has no more is superseded, once its successor had time to be taken', async () => {
    world = leaseWorld([plainEntry('web', { dnsNames: ['old.internal'] })]);
    const stream = follow((signal) => identitiesOf(world.leases.of(livingInstance()), signal));
    const before = (await stream.at(1)).svids[0]?.svid.serial;
    world.replaceEntries([plainEntry('web')]);
    const after = (await stream.at(2)).svids[0]?.svid.serial;
    await world.clock.elapse(1000);
    expect(listed()).toEqual([]);
    await world.clock.elapse(5000);
    expect(listed()).toEqual([before]);
    expect(world.ledger.of('svid.revoked')).toMatchObject([
      { reason: 'superseded', certificates: [{ serial: before }] },
    ]);
    expect([...world.leases][0]?.x509.current?.serial).toBe(after);
  });
});
