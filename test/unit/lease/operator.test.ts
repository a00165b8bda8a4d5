import { afterEach, describe, expect, it } from 'vitest';
import { parseAudiences } from '../../../agent/kernel/audience.ts';
import type { RevocationOrder, RevocationTarget } from '../../../agent/lease/operator.ts';
import { Operator } from '../../../agent/lease/operator.ts';
import { plainEntry } from '../../support/entry.ts';
import { livingInstance } from '../../support/instance.ts';
import { follow, identitiesOf, leaseWorld } from '../../support/lease-world.ts';

const A = parseAudiences(['a']);
const ORDER: RevocationOrder = { reason: 'stolen', code: 'keyCompromise', allowReissue: false };

let world: ReturnType<typeof leaseWorld>;
afterEach(() => world.close());

/** Two processes that hold two identities each, and the operator. */
async function occupied() {
  world = leaseWorld([plainEntry('shop'), plainEntry('web')]);
  const instances = [livingInstance(), livingInstance()] as const;
  const streams = instances.map((instance) => follow((signal) => identitiesOf(world.leases.of(instance), signal)));
  const serials = await Promise.all(
    streams.map(async (stream) => (await stream.at(1)).svids.map(({ svid }) => svid.serial)),
  );
  return { instances, streams, serials, operator: new Operator(world) };
}

describe('an operator revokes', () => {
  it('what one process has: its streams end, the other notices nothing, and it is given nothing again', async () => {
    const { instances, operator, serials, streams } = await occupied();
    const { revoked, allowed } = operator.revoke({ kind: 'pid', pid: instances[0].pid }, ORDER);
    expect(revoked.flatMap((each) => each.serials).toSorted()).toEqual(serials[0]?.toSorted());
    expect(revoked.every(({ barred, ended }) => barred && ended)).toBe(true);
    expect(allowed).toBe(0);
    expect(await streams[0]?.ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect(streams[1]?.received).toHaveLength(1);
    expect(world.ledger.of('lease.ended')).toMatchObject([{ reason: 'revoked' }, { reason: 'revoked' }]);
    expect(world.ledger.of('svid.revoked')).toMatchObject([
      { reason: 'keyCompromise', cause: 'stolen' },
      { reason: 'keyCompromise', cause: 'stolen' },
    ]);

    const minted = world.minted.length;
    const again = follow((signal) => identitiesOf(world.leases.of(instances[0]), signal));
    expect(await again.ended).toMatchObject({ code: 'REISSUE_BARRED' });
    await expect(world.leases.of(instances[0]).jwt(A, undefined)).rejects.toMatchObject({ code: 'REISSUE_BARRED' });
    expect(world.minted).toHaveLength(minted);
    expect(world.ledger.of('svid.refused').every(({ rule }) => rule === 'reissue_barred')).toBe(true);

    expect(operator.revoke({ kind: 'pid', pid: instances[0].pid }, { ...ORDER, allowReissue: true })).toMatchObject({
      revoked: [],
      allowed: 1,
    });
    await follow((signal) => identitiesOf(world.leases.of(instances[0]), signal)).at(1);
  });

  it.each([
    ['container', 'c'.repeat(12)],
    ['pod', 'shop/pay'],
    ['unit', 'pay.service'],
  ])('what lives in one %s, and nothing beside it', async (_, place) => {
    world = leaseWorld([plainEntry('web')]);
    const [inside, beside] = [livingInstance(), livingInstance()];
    world.found.context = {
      container: { engine: 'containerd', id: 'c'.repeat(64) },
      pod: { uid: 'u1', namespace: 'shop', name: 'pay' },
      unit: { id: 'pay.service', invocation: 'aa' },
    };
    await follow((signal) => identitiesOf(world.leases.of(inside), signal)).at(1);
    world.found.context = { pod: { uid: 'u2', namespace: 'shop', name: 'ship' } };
    await follow((signal) => identitiesOf(world.leases.of(beside), signal)).at(1);
    const operator = new Operator(world);
    const { revoked } = operator.revoke({ kind: 'place', place }, ORDER);
    expect(revoked.map(({ lease }) => lease.instance.pid)).toEqual([inside.pid]);
    expect([...world.leases].map(({ instance }) => instance)).toEqual([beside]);
    expect(() => operator.revoke({ kind: 'place', place: 'c'.repeat(11) }, ORDER)).toThrow(
      `no lease lives in "${'c'.repeat(11)}"; mayfly leases shows what there is`,
    );
  });

  it('one identity of a process by its serial, and leaves it the others', async () => {
    const { operator, serials, streams } = await occupied();
    const [shop = '', web] = serials[0] ?? [];
    expect(operator.revoke({ kind: 'serial', serial: shop }, ORDER).revoked).toMatchObject([{ serials: [shop] }]);
    expect(() => operator.revoke({ kind: 'serial', serial: shop }, ORDER)).toThrow(
      expect.objectContaining({
        code: 'NOT_FOUND',
        message: expect.stringContaining('revoked already (keyCompromise)'),
      }),
    );
    const left = await streams[0]?.at(2);
    expect(left?.svids.map(({ svid }) => svid.serial)).toEqual([web]);
  });

  it('one token alone: its process keeps what it has and gets another token', async () => {
    const { instances, operator, streams } = await occupied();
    const [token] = await world.leases.of(instances[0]).jwt(A, undefined);
    const jti = token?.svid.jti ?? '';
    expect(operator.revoke({ kind: 'jti', jti }, ORDER).revoked).toMatchObject([
      { jtis: [jti], serials: [], ended: false, barred: false },
    ]);
    expect(world.revocation.tokenRevoked(jti)).toBe('keyCompromise');
    const [next] = await world.leases.of(instances[0]).jwt(A, undefined);
    expect(next?.svid.jti).not.toBe(jti);
    expect(streams[0]?.received).toHaveLength(1);
    expect(world.ledger.of('lease.ended')).toEqual([]);
  });

  it('and lets the processes have new ones at once where that is said', async () => {
    const { operator, serials, streams } = await occupied();
    operator.revoke({ kind: 'entry', entryId: 'web' }, { ...ORDER, allowReissue: true });
    for (const [index, stream] of streams.entries()) {
      const after = await stream.at(3);
      expect(after.svids).toHaveLength(2);
      expect(after.svids.map(({ svid }) => svid.serial)).not.toContain(serials[index]?.[1]);
    }
  });

  it('everything', async () => {
    const { operator, streams } = await occupied();
    expect(operator.revoke({ kind: 'all' }, ORDER).revoked).toHaveLength(4);
    for (const stream of streams) expect(await stream.ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect(world.ledger.state.leases.size).toBe(0);
  });

  it.each<RevocationTarget>([
    { kind: 'serial', serial: 'ff' },
    { kind: 'jti', jti: 'nobody' },
    { kind: 'pid', pid: 1 },
    { kind: 'spiffe-id', spiffeId: 'spiffe://example.org/nobody' },
    { kind: 'entry', entryId: 'nobody' },
  ])('nothing where nothing is meant: $kind', async (target) => {
    const { operator, streams } = await occupied();
    expect(() => operator.revoke(target, ORDER)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
    expect(() => operator.revoke(target, { ...ORDER, allowReissue: true })).toThrow(
      expect.objectContaining({ code: 'NOT_FOUND' }),
    );
    expect(world.ledger.of('svid.revoked')).toEqual([]);
    expect(streams.map(({ received }) => received.length)).toEqual([1, 1]);
  });
});
