import { afterEach, describe, expect, it } from 'vitest';
import type { Context } from '../../../agent/attest/context.ts';
import { parseAudiences } from '../../../agent/kernel/audience.ts';
import { plainEntry } from '../../support/entry.ts';
import type { TestInstance } from '../../support/instance.ts';
import { livingInstance } from '../../support/instance.ts';
import { follow, identitiesOf, leaseWorld } from '../../support/lease-world.ts';

const A = parseAudiences(['a']);
const POD: Context = {
  container: { engine: 'containerd', id: 'c'.repeat(64) },
  pod: { uid: 'u1', namespace: 'shop', name: 'pay' },
};
const OTHER_POD: Context = {
  container: { engine: 'containerd', id: 'd'.repeat(64) },
  pod: { uid: 'u2', namespace: 'shop', name: 'pay' },
};

let world: ReturnType<typeof leaseWorld>;
afterEach(async () => {
  await world.close();
  expect([world.contexts.count('pod'), world.contexts.count('container')]).toEqual([0, 0]);
});

const streamOf = (instance: TestInstance) => follow((signal) => identitiesOf(world.leases.of(instance), signal));
const ends = () => world.ledger.of('lease.ended').map(({ instance, reason }) => [instance.pid, reason]);

describe('the end of what a process lives in', () => {
  it('ends the identities of all processes in it at once, and of none beside it', async () => {
    world = leaseWorld([plainEntry('web')]);
    world.found.context = POD;
    const inside = [livingInstance(), livingInstance()];
    const streams = inside.map(streamOf);
    for (const stream of streams) await stream.at(1);
    world.found.context = OTHER_POD;
    const beside = streamOf(livingInstance());
    const { svids } = await beside.at(1);
    world.contexts.end('pod', 'u1', 'pod-ended');
    expect(ends()).toEqual(inside.map(({ pid }) => [pid, 'pod-ended']));
    for (const stream of streams) {
      expect(await stream.ended).toMatchObject({
        code: 'NO_IDENTITY',
        message: expect.stringContaining('was in a pod that is gone'),
      });
    }
    const revoked = world.ledger.of('svid.revoked');
    expect(revoked.map(({ cause, reason }) => [cause, reason])).toEqual([
      ['pod-ended', 'cessationOfOperation'],
      ['pod-ended', 'cessationOfOperation'],
    ]);
    expect([...world.leases].map(({ x509 }) => x509.currentId)).toEqual([svids[0]?.svid.serial]);
    expect(inside.map(({ holds }) => holds)).toEqual([0, 0]);
  });

  it('leaves nothing to a process in it that asks again, while it is still found there', async () => {
    world = leaseWorld([plainEntry('web')]);
    world.found.context = POD;
    const instance = livingInstance();
    await world.leases.of(instance).jwt(A, undefined);
    world.contexts.end('container', `${'c'.repeat(64)}@`, 'container-ended');
    await expect(world.leases.of(instance).jwt(A, undefined)).rejects.toMatchObject({ code: 'NO_IDENTITY' });
    expect(await streamOf(instance).ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect(world.ledger.of('svid.issued')).toHaveLength(1);
    expect(ends()).toEqual([[instance.pid, 'container-ended']]);
  });

  it('is seen when the process is found in another of the kind', async () => {
    world = leaseWorld([plainEntry('web')]);
    world.found.context = POD;
    const instance = livingInstance();
    const stream = streamOf(instance);
    await stream.at(1);
    world.found.context = { ...POD, pod: { uid: 'u2', namespace: 'shop', name: 'pay' } };
    await world.clock.elapse(1001);
    await expect(world.leases.of(instance).jwt(A, undefined)).rejects.toMatchObject({ code: 'NO_IDENTITY' });
    expect(await stream.ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect(ends()).toEqual([[instance.pid, 'pod-replaced']]);
    // As what it is now it is served.
    await world.leases.of(instance).jwt(A, undefined);
    expect(world.ledger.of('svid.issued').at(-1)?.instance.pod?.uid).toBe('u2');
  });

  it('is not that an attestor knows nothing of it for once', async () => {
    world = leaseWorld([plainEntry('web')]);
    world.found.context = POD;
    const instance = livingInstance();
    const stream = streamOf(instance);
    await stream.at(1);
    world.found.context = {};
    await world.clock.elapse(1001);
    await world.leases.of(instance).jwt(A, undefined);
    expect(ends()).toEqual([]);
    world.contexts.end('pod', 'u1', 'pod-replaced');
    expect(await stream.ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect(ends()).toEqual([[instance.pid, 'pod-replaced']]);
  });

  it('is in the record of the process, and reaches a lease that was taken over', async () => {
    world = leaseWorld([plainEntry('web')]);
    world.found.context = POD;
    const instance = livingInstance();
    await streamOf(instance).at(1);
    expect(world.ledger.of('svid.issued')[0]?.instance).toMatchObject(POD);
    const [left] = world.ledger.state.leases.values();
    world.leases.close();
    const next = world.again();
    next.adopt(instance, plainEntry('web'), {
      id: left?.id ?? '',
      decision: left?.decision ?? '',
      openedAt: left?.openedAt ?? 0,
      serials: [...(left?.certificates.keys() ?? [])],
      wits: [],
      expiresAt: world.clock.now() + 1000,
      context: POD,
    });
    world.contexts.end('pod', 'u1', 'pod-ended');
    expect([...next]).toEqual([]);
    expect(ends()).toEqual([[instance.pid, 'pod-ended']]);
    next.close();
  });
});
