import { afterEach, describe, expect, it } from 'vitest';
import { parseAudiences } from '../../../agent/kernel/audience.ts';
import { parseSpiffeId, parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import { Operator } from '../../../agent/lease/operator.ts';
import { entryNamed, type WrittenEntry } from '../../../agent/registry/written-entry.ts';
import { readCrls } from '../../support/crl-reader.ts';
import { plainEntry } from '../../support/entry.ts';
import { livingInstance } from '../../support/instance.ts';
import { follow, identitiesOf, leaseWorld } from '../../support/lease-world.ts';
import { templateOf } from '../registry/entries.ts';

type World = ReturnType<typeof leaseWorld>;

const A = parseAudiences(['a']);
const LINES = ['id: cluster', 'selectors: [ "unix:uid:1000" ]', 'spiffe_id: "spiffe://example.org/ns/{{k8s.ns}}"'];
let world: World;

afterEach(async () => {
  await world.close();
  expect(world.clock.alarms).toBe(0);
});

/** A world with a template, in which processes are found to be of these selectors. */
function open(selectors: readonly string[], ...entries: readonly WrittenEntry[]): void {
  world = leaseWorld(entries.length === 0 ? [templateOf(...LINES)] : entries);
  world.found.selectors = selectors;
}

/** Lets what was ended in this turn go out. */
const told = () => world.clock.elapse(100);

function listed(): readonly string[] {
  return readCrls(world.revocation.forBundles.value?.crls ?? []).flatMap(({ serials }) => serials);
}

function streamOf(instance = livingInstance()) {
  return follow((signal) => identitiesOf(world.leases.of(instance), signal));
}

describe('a process that a template is meant for', () => {
  it('has one lease of it, which says whose it is in the record', async () => {
    open(['k8s:ns:payments']);
    const instance = livingInstance();
    const { svids } = await streamOf(instance).at(1);
    await streamOf(instance).at(1);
    await world.leases.of(instance).jwt(A, undefined);
    expect(svids.map(({ svid }) => svid.spiffeId)).toEqual(['spiffe://example.org/ns/payments']);
    expect([...world.leases].map(({ entry }) => [entry.id, entry.spiffeId])).toEqual([
      ['cluster', 'spiffe://example.org/ns/payments'],
    ]);
    expect(world.ledger.of('svid.issued')[0]).toMatchObject({
      entry: 'cluster',
      spiffe_id: 'spiffe://example.org/ns/payments',
      selectors: ['k8s:ns:payments', 'unix:uid:1000'],
    });
  });

  it('is handed out the same token again, since its entry stays the same', async () => {
    open(['k8s:ns:payments']);
    const workload = world.leases.of(livingInstance());
    const [first] = await workload.jwt(A, undefined);
    world.found.selectors = ['k8s:ns:payments', 'unix:gid:7'];
    await world.clock.elapse(1100);
    const [second] = await workload.jwt(A, parseSpiffeId('spiffe://example.org/ns/payments'));
    expect(second?.svid.jti).toBe(first?.svid.jti);
    expect(workload.cachedJwt(A, undefined)?.[0]?.svid).toBe(first?.svid);
    expect(world.ledger.of('svid.issued')).toHaveLength(1);
  });

  it('loses the identity whose values it has no more, for good, and is given the other', async () => {
    open(['k8s:ns:payments']);
    const instance = livingInstance();
    const stream = streamOf(instance);
    const { svids: before } = await stream.at(1);
    world.found.selectors = ['k8s:ns:reports'];
    await world.clock.elapse(1100);
    const [token] = await world.leases.of(instance).jwt(A, undefined);
    const { svids: after } = await stream.at(2);
    await told();
    expect(token?.svid.spiffeId).toBe('spiffe://example.org/ns/reports');
    expect(after.map(({ svid }) => svid.spiffeId)).toEqual(['spiffe://example.org/ns/reports']);
    expect(before[0]?.svid.privateKey.destroyed).toBe(true);
    expect(listed()).toEqual([before[0]?.svid.serial]);
    expect(world.ledger.of('lease.ended')).toMatchObject([
      { entry: 'cluster', spiffe_id: 'spiffe://example.org/ns/payments', reason: 'selectors-changed' },
    ]);
    expect([...world.leases]).toHaveLength(1);
  });

  it.each([
    ['lost its value', []],
    ['got a second value', ['k8s:ns:payments', 'k8s:ns:reports']],
    ['got a value that fits nowhere', ['k8s:ns:a/b']],
  ])('loses its identity when it %s', async (_, selectors) => {
    open(['k8s:ns:payments']);
    const stream = streamOf();
    const [serial] = (await stream.at(1)).svids.map(({ svid }) => svid.serial);
    world.found.selectors = selectors;
    await world.clock.elapse(1100);
    await world.leases.lookAgain([...world.leases][0]?.instance ?? livingInstance());
    expect(await stream.ended).toMatchObject({ code: 'NO_IDENTITY' });
    await told();
    expect(listed()).toEqual([serial]);
    expect(world.ledger.of('lease.ended')).toMatchObject([{ reason: 'selectors-changed' }]);
  });

  it('and gets nothing of it is refused with the reason', async () => {
    open(['k8s:ns:a/b']);
    expect(await streamOf().ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect(world.minted).toEqual([]);
    expect(world.ledger.of('caller.refused')).toMatchObject([
      {
        selectors: ['k8s:ns:a/b', 'unix:uid:1000'],
        reason: expect.stringContaining('entry cluster: {{k8s.ns}} is "a/b"; in a SPIFFE ID it may be A-Z, a-z, 0-9'),
      },
    ]);
  });

  it('gets what others entitle it to all the same', async () => {
    open(['k8s:ns:a/b'], templateOf(...LINES), plainEntry('web'));
    const { svids } = await streamOf().at(1);
    expect(svids.map(({ svid }) => svid.spiffeId)).toEqual(['spiffe://example.org/web']);
    expect(world.ledger.of('caller.refused')).toEqual([]);
  });

  it('has its terms: for whom its tokens are, and whose bundles it gets', async () => {
    open(['k8s:ns:payments'], templateOf(...LINES, 'audiences: [ db ]', 'federates_with: [ other.org, third.org ]'));
    const foreign = world.authority.bundle.value;
    if (foreign === undefined) throw new Error('the authority has a bundle');
    const others = ['other.org', 'unasked.org'].map(
      (name) => [parseTrustDomain(name), { ...foreign, trustDomain: parseTrustDomain(name) }] as const,
    );
    world.federated.set(new Map(others));
    const workload = world.leases.of(livingInstance());
    const [token] = await workload.jwt(parseAudiences(['db']), undefined);
    expect(token?.svid.spiffeId).toBe('spiffe://example.org/ns/payments');
    await expect(workload.jwt(A, undefined)).rejects.toMatchObject({ code: 'POLICY_REFUSED' });
    const { federated } = await streamOf().at(1);
    expect(federated.map(({ trustDomain }) => trustDomain)).toEqual(['other.org']);
  });

  it('is kept from it by hand whatever its values, until that is taken back', async () => {
    open(['k8s:ns:payments']);
    const instance = livingInstance();
    await streamOf(instance).at(1);
    const operator = new Operator(world);
    const target = { kind: 'spiffe-id', spiffeId: 'spiffe://example.org/ns/payments' } as const;
    const order = { reason: 'seen', code: 'keyCompromise', allowReissue: false } as const;
    expect(operator.revoke(target, order).revoked).toHaveLength(1);
    world.found.selectors = ['k8s:ns:reports'];
    await world.clock.elapse(1100);
    expect(await streamOf(instance).ended).toMatchObject({ code: 'REISSUE_BARRED' });
    expect(operator.revoke(target, { ...order, allowReissue: true }).allowed).toBe(1);
    expect((await streamOf(instance).at(1)).svids[0]?.svid.spiffeId).toBe('spiffe://example.org/ns/reports');
  });
});

describe('a template that changes', () => {
  it('in what it gives ends what it gave', async () => {
    open(['k8s:ns:payments']);
    const stream = streamOf();
    await stream.at(1);
    world.replaceEntries([templateOf(...LINES.slice(0, 2), 'spiffe_id: "spiffe://example.org/n/{{k8s.ns}}"')]);
    const { svids } = await stream.at(2);
    expect(svids[0]?.svid.spiffeId).toBe('spiffe://example.org/n/payments');
    expect(world.ledger.of('lease.ended')).toMatchObject([{ reason: 'entry-changed' }]);
  });

  it('in whom it asks for ends what those had who are no longer meant', async () => {
    open(['k8s:ns:payments']);
    const stream = streamOf();
    await stream.at(1);
    world.replaceEntries([templateOf('id: cluster', 'selectors: [ "unix:uid:1" ]', ...LINES.slice(2))]);
    expect(await stream.ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect(world.ledger.of('lease.ended')).toMatchObject([{ reason: 'entry-changed' }]);
  });

  it('in nothing but its terms keeps the lease, and renews what it holds', async () => {
    open(['k8s:ns:payments']);
    const stream = streamOf();
    await stream.at(1);
    const [lease] = [...world.leases];
    world.replaceEntries([templateOf(...LINES, 'dns_names: [ "{{k8s.ns}}.svc" ]')]);
    const { svids } = await stream.at(2);
    expect(svids[0]?.svid.spiffeId).toBe('spiffe://example.org/ns/payments');
    expect([...world.leases]).toEqual([lease]);
    expect(world.ledger.of('lease.ended')).toEqual([]);
    expect(lease?.entry.dnsNames).toEqual(['payments.svc']);
  });
});

describe('a lease of a template that is taken over from an agent before', () => {
  it.each([
    ['has the same values still, goes on', ['k8s:ns:payments', 'k8s:pod-name:p-1'], undefined],
    ['has other values now, ends', ['k8s:ns:reports', 'k8s:pod-name:p-1'], 'selectors-changed'],
  ])('and whose process %s', async (_, selectors, reason) => {
    const template = templateOf(...LINES, 'dns_names: [ "{{k8s.pod-name}}.svc" ]');
    open(['k8s:ns:payments', 'k8s:pod-name:p-1'], template);
    const instance = livingInstance();
    const stream = streamOf(instance);
    const [serial = ''] = (await stream.at(1)).svids.map(({ svid }) => svid.serial);
    world.leases.close();
    await stream.ended;
    const [left] = world.ledger.state.leases.values();
    const entry = entryNamed(template, left?.spiffeId ?? '');
    if (left === undefined || entry === undefined) throw new Error('there is a lease, and the template gives it');

    const next = world.again();
    const { decision, id, openedAt } = left;
    const expiresAt = world.clock.now() + 60_000;
    next.adopt(instance, entry, { id, decision, openedAt, serials: [serial], wits: [], expiresAt, context: {} });
    world.found.selectors = selectors;
    await world.clock.elapse(1100);
    await next.lookAgain(instance);
    await told();
    expect(world.ledger.of('lease.ended').map((event) => event.reason)).toEqual(reason === undefined ? [] : [reason]);
    expect(listed()).toEqual(reason === undefined ? [] : [serial]);
    expect([...next].map((lease) => lease.entry.dnsNames)).toEqual(reason === undefined ? [['p-1.svc']] : []);
    next.close();
  });
});
