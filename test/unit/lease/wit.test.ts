import { createPrivateKey, createPublicKey } from 'node:crypto';
import { decodeJwt } from 'jose';
import { afterEach, describe, expect, it } from 'vitest';
import { parseAudience, parseAudiences } from '../../../agent/kernel/audience.ts';
import { parseSelector } from '../../../agent/kernel/selector.ts';
import { parseSpiffeId } from '../../../agent/kernel/spiffe-id.ts';
import { Operator } from '../../../agent/lease/operator.ts';
import type { WitSvid } from '../../../agent/lease/svid.ts';
import { Validation } from '../../../agent/lease/validation.ts';
import type { ProcessInstance } from '../../../agent/peer/instance.ts';
import type { Entry } from '../../../agent/registry/entry.ts';
import { publicJwkOf } from '../../../agent/svid/jwk.ts';
import { plainEntry } from '../../support/entry.ts';
import { livingInstance } from '../../support/instance.ts';
import { follow, HOUR, identitiesOf, leaseWorld, MINUTE } from '../../support/lease-world.ts';

const A = parseAudiences(['a']);
const WEB = parseSpiffeId('spiffe://example.org/web');

let world: ReturnType<typeof leaseWorld>;
afterEach(async () => {
  await world.close();
  expect(world.clock.alarms).toBe(0);
});

function open(...entries: readonly Entry[]): void {
  world = leaseWorld(entries.length === 0 ? [plainEntry('web')] : entries);
}

function witOf(instance: ProcessInstance, spiffeId?: Entry['spiffeId']) {
  return follow((signal) => world.leases.of(instance).wit(spiffeId, signal));
}

function certificatesOf(instance: ProcessInstance) {
  return follow((signal) => identitiesOf(world.leases.of(instance), signal));
}

/** The first WIT-SVID of the `count`-th update. */
async function nth(stream: ReturnType<typeof witOf>, count: number): Promise<WitSvid> {
  const svid = (await stream.at(count)).svids[0]?.svid;
  if (svid === undefined) throw new Error('an update without a WIT-SVID');
  return svid;
}

describe('a WIT-SVID', () => {
  it('is one for all streams of a process, with a key of its own that it confirms', async () => {
    open();
    const one = livingInstance();
    const svid = await nth(witOf(one), 1);
    expect(await nth(witOf(one), 1)).toBe(svid);
    const other = await nth(witOf(livingInstance()), 1);
    expect(other.jti).not.toBe(svid.jti);
    const jwk = JSON.parse(svid.privateKey.reveal().toString()) as Record<string, string>;
    const key = createPrivateKey({ key: jwk, format: 'jwk' });
    expect(decodeJwt(svid.token)['cnf']).toEqual({ jwk: { ...publicJwkOf(key), alg: 'ES256' } });
    expect(other.privateKey.reveal().equals(svid.privateKey.reveal())).toBe(false);

    const certificate = (await certificatesOf(one).at(1)).svids[0]?.svid;
    const der = certificate?.privateKey.reveal() ?? Buffer.of();
    const leafKey = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }));
    expect(publicJwkOf(leafKey)).not.toEqual(publicJwkOf(key));
    expect(world.issuer.counts).toEqual({ x509: 1, wit: 2, jwt: 0, refused: 0, failed: 0 });
  });

  it('is not made for a process that follows certificates, nor a certificate for one that follows WIT-SVIDs', async () => {
    open();
    const [first, second] = [livingInstance(), livingInstance()];
    await certificatesOf(first).at(1);
    await world.leases.of(first).jwt(A, undefined);
    expect(world.issuer.counts).toMatchObject({ x509: 1, wit: 0 });
    await witOf(second).at(1);
    expect(world.issuer.counts).toMatchObject({ x509: 1, wit: 1 });
    await world.clock.elapse(40 * MINUTE);
    // Each was renewed, and neither brought the other.
    expect(world.issuer.counts).toMatchObject({ x509: 2, wit: 2 });
  });

  it('is in the record before it is delivered, with everything but the key and the token', async () => {
    open(plainEntry('web', { owner: 'team@example.org', witSvidTtl: 30 * MINUTE }));
    const instance = livingInstance();
    const svid = await nth(witOf(instance), 1);
    expect(world.ledger.of('svid.issued')).toEqual([
      {
        type: 'svid.issued',
        lease: [...world.leases][0]?.id,
        decision: svid.decisionId,
        kind: 'wit',
        occasion: 'first',
        instance: { pid: instance.pid, start_time: '1', uid: 1000, gid: 1000 },
        selectors: ['unix:uid:1000'],
        entry: 'web',
        owner: 'team@example.org',
        spiffe_id: WEB,
        jti: svid.jti,
        lifetime_asked: 30 * MINUTE,
        lifetime_given: 30 * MINUTE,
        expires_at: '2026-01-01T00:30:00.000Z',
        rule: 'entry',
      },
    ]);
  });

  it('never leaves the agent while there is no room to record it', async () => {
    open();
    world.ledger.full = true;
    const stream = witOf(livingInstance());
    expect(await stream.ended).toMatchObject({ code: 'DISK_FULL' });
    expect(stream.received).toEqual([]);
    expect(world.ledger.state.leases.size).toBe(0);
  });

  it('is not made for a process that no entry matches, which is recorded', async () => {
    open();
    expect(await witOf(livingInstance(7)).ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect(world.ledger.of('caller.refused')).toMatchObject([{ kind: 'wit' }]);
    expect(world.issuer.counts.wit).toBe(0);
    expect(world.leases.workloads).toBe(0);
  });

  it('is renewed when half of its life is left, decided anew, and its old key is gone', async () => {
    open();
    const stream = witOf(livingInstance());
    const before = await nth(stream, 1);
    await world.clock.elapse(29 * MINUTE);
    expect(stream.received).toHaveLength(1);
    await world.clock.elapse(2 * MINUTE);
    const after = await nth(stream, 2);
    expect(after.jti).not.toBe(before.jti);
    expect(after.privateKey.destroyed).toBe(false);
    expect(before.privateKey.destroyed).toBe(true);
    expect([...world.leases][0]?.wit.rotations).toBe(1);
    expect(world.ledger.of('svid.renewed')).toMatchObject([{ kind: 'wit', parent: before.decisionId, jti: after.jti }]);
    // The one before is good until it expires, as a certificate is.
    expect(world.revocation.tokenRevoked(before.jti)).toBeUndefined();
  });

  it('serves on while it cannot be renewed, and its stream ends only when it expires', async () => {
    open();
    const stream = witOf(livingInstance());
    await stream.at(1);
    world.fault.authority = true;
    await world.clock.elapse(50 * MINUTE);
    expect(stream.received).toHaveLength(1);
    expect([...world.leases][0]?.wit.failure?.count).toBeGreaterThan(10);
    await world.clock.elapse(11 * MINUTE);
    expect(await stream.ended).toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
  });

  it('expires with its lease when nobody follows it', async () => {
    open();
    const instance = livingInstance();
    const stream = witOf(instance);
    await stream.at(1);
    stream.stop();
    await stream.ended;
    await world.clock.elapse(59 * MINUTE);
    expect([...world.leases]).toHaveLength(1);
    await world.clock.elapse(2 * MINUTE);
    expect([...world.leases]).toHaveLength(0);
    expect(instance.holds).toBe(0);
    expect(world.issuer.counts.wit).toBe(1);
  });

  it('of other terms is reissued, and the one before does not outlive its successor for long', async () => {
    open();
    const stream = witOf(livingInstance());
    const before = await nth(stream, 1);
    world.replaceEntries([plainEntry('web', { dnsNames: ['other.internal'], x509SvidTtl: MINUTE })]);
    await world.clock.elapse(1000);
    expect(stream.received).toHaveLength(1);
    world.replaceEntries([plainEntry('web', { witSvidTtl: 10 * MINUTE })]);
    const after = await nth(stream, 2);
    expect(after.expiresAt - after.issuedAt).toBe(10 * MINUTE);
    expect(world.revocation.tokenRevoked(before.jti)).toBeUndefined();
    await world.clock.elapse(6000);
    expect(world.revocation.tokenRevoked(before.jti)).toBe('superseded');
    expect(world.revocation.tokenRevoked(after.jti)).toBeUndefined();
    expect(world.ledger.of('svid.revoked')).toMatchObject([
      { cause: 'superseded by a newer WIT-SVID', certificates: [], tokens: [{ jti: before.jti, kind: 'wit' }] },
    ]);
  });

  it('counts for none of the tokens that a process may have', async () => {
    open();
    const instance = livingInstance();
    await witOf(instance).at(1);
    const workload = world.leases.of(instance);
    for (let index = 0; index < 100; index += 1) await workload.jwt(parseAudiences([`a${index}`]), undefined);
    await expect(workload.jwt(A, undefined)).rejects.toMatchObject({ code: 'POLICY_REFUSED' });
  });
});

describe('a stream that asks for one identity', () => {
  it('is told of that alone, and no other is made for it', async () => {
    open(plainEntry('a'), plainEntry('web', { hint: 'h' }));
    const instance = livingInstance();
    const { svids } = await witOf(instance, WEB).at(1);
    expect(svids.map(({ svid, hint }) => [svid.spiffeId, hint])).toEqual([[WEB, 'h']]);
    expect(world.issuer.counts.wit).toBe(1);
    const all = await witOf(instance).at(1);
    expect(all.svids.map(({ svid }) => svid.spiffeId)).toEqual(['spiffe://example.org/a', WEB]);
    expect(all.svids[1]?.svid).toBe(svids[0]?.svid);
  });

  it('of another is refused, and nothing is made', async () => {
    open(plainEntry('a'));
    expect(await witOf(livingInstance(), WEB).ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect(world.issuer.counts.wit).toBe(0);
  });

  it('ends when that is withdrawn, while the others go on', async () => {
    open(plainEntry('a'), plainEntry('web'));
    const instance = livingInstance();
    const [one, all] = [witOf(instance, WEB), witOf(instance)];
    const [before] = await Promise.all([nth(one, 1), all.at(1)]);
    world.replaceEntries([plainEntry('a')]);
    expect(await one.ended).toMatchObject({ code: 'NO_IDENTITY' });
    const left = await all.at(all.received.length === 1 ? 2 : all.received.length);
    expect(left.svids.map(({ svid }) => svid.spiffeId)).toEqual(['spiffe://example.org/a']);
    expect(before.privateKey.destroyed).toBe(true);
    expect(world.revocation.tokenRevoked(before.jti)).toBe('privilegeWithdrawn');
  });

  it('that cannot be signed fails, also where another of the process is there', async () => {
    open(plainEntry('a'), plainEntry('web'));
    const instance = livingInstance();
    await witOf(instance, parseSpiffeId('spiffe://example.org/a')).at(1);
    world.fault.authority = true;
    expect(await witOf(instance, WEB).ended).toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
  });
});

describe('the end of a lease', () => {
  it('puts its WIT-SVIDs on the denylist, drops their keys and ends their streams', async () => {
    open();
    const instance = livingInstance();
    const stream = witOf(instance);
    const first = await nth(stream, 1);
    await world.clock.elapse(31 * MINUTE);
    const second = await nth(stream, 2);
    const certificate = (await certificatesOf(instance).at(1)).svids[0]?.svid;
    instance.finish('exited');
    expect(await stream.ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect(second.privateKey.destroyed).toBe(true);
    for (const { jti } of [first, second]) expect(world.revocation.tokenRevoked(jti)).toBe('cessationOfOperation');
    expect(world.ledger.of('svid.revoked')).toMatchObject([
      {
        certificates: [{ serial: certificate?.serial }],
        tokens: [
          { jti: first.jti, kind: 'wit' },
          { jti: second.jti, kind: 'wit' },
        ],
      },
    ]);
    expect(world.ledger.of('lease.ended')).toHaveLength(1);
  });

  it('by a policy that refuses the renewal takes the WIT-SVID with it', async () => {
    open();
    const stream = witOf(livingInstance());
    const svid = await nth(stream, 1);
    Object.assign(world.policy, {
      decide: async () => ({ kind: 'refusal', decisionId: 'd', rule: 'curfew', lifetimeAsked: HOUR, message: 'late' }),
    });
    await world.clock.elapse(35 * MINUTE);
    expect(await stream.ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect(world.ledger.of('lease.ended')).toMatchObject([{ reason: 'refused', detail: 'late' }]);
    expect(world.revocation.tokenRevoked(svid.jti)).toBe('privilegeWithdrawn');
  });

  it('by an operator, of one WIT-SVID alone, leaves the rest: the stream is told of its successor', async () => {
    open();
    const instance = livingInstance();
    const [stream, certificates] = [witOf(instance), certificatesOf(instance)];
    const [before] = await Promise.all([nth(stream, 1), certificates.at(1)]);
    const order = { reason: 'stolen', code: 'keyCompromise', allowReissue: false } as const;
    const operator = new Operator(world);
    expect(operator.revoke({ kind: 'jti', jti: before.jti }, order).revoked).toMatchObject([
      { jtis: [before.jti], serials: [], ended: false, barred: false },
    ]);
    expect(before.privateKey.destroyed).toBe(true);
    const after = await nth(stream, 2);
    expect(after.jti).not.toBe(before.jti);
    expect(world.ledger.of('svid.renewed')).toMatchObject([{ kind: 'wit', jti: after.jti }]);
    expect([before, after].map(({ jti }) => world.revocation.tokenRevoked(jti))).toEqual(['keyCompromise', undefined]);
    expect(certificates.received).toHaveLength(1);
    expect(world.ledger.of('lease.ended')).toEqual([]);
  });

  it('by an operator, of the process, bars it from another', async () => {
    open();
    const instance = livingInstance();
    const stream = witOf(instance);
    const { jti } = await nth(stream, 1);
    const order = { reason: 'stolen', code: 'keyCompromise', allowReissue: false } as const;
    expect(new Operator(world).revoke({ kind: 'pid', pid: instance.pid }, order).revoked).toMatchObject([
      { jtis: [jti], ended: true, barred: true },
    ]);
    expect(await stream.ended).toMatchObject({ code: 'NO_IDENTITY' });
    expect(await witOf(instance).ended).toMatchObject({ code: 'REISSUE_BARRED' });
    expect(world.issuer.counts.wit).toBe(1);
  });
});

describe('a lease that is taken over from an agent before', () => {
  it('keeps its WIT-SVID until the process has another, and then not for long', async () => {
    open();
    const instance = livingInstance();
    const stream = witOf(instance);
    const before = await nth(stream, 1);
    world.leases.close();
    expect(await stream.ended).toMatchObject({ code: 'SHUTTING_DOWN' });
    expect(before.privateKey.destroyed).toBe(true);
    const [left] = world.ledger.state.leases.values();
    expect([...(left?.wits.keys() ?? [])]).toEqual([before.jti]);

    const next = world.again();
    next.adopt(instance, plainEntry('web'), {
      id: left?.id ?? '',
      decision: left?.decision ?? '',
      openedAt: left?.openedAt ?? 0,
      serials: [],
      wits: [before.jti],
      expiresAt: before.expiresAt,
      context: {},
    });
    expect([...next].map(({ adopted, expiresAt }) => [adopted, expiresAt])).toEqual([[true, before.expiresAt]]);
    const again = follow((signal) => next.of(instance).wit(undefined, signal));
    const after = await nth(again, 1);
    expect(world.ledger.of('svid.renewed')).toMatchObject([
      { lease: left?.id, parent: left?.decision, jti: after.jti },
    ]);
    expect(world.revocation.tokenRevoked(before.jti)).toBeUndefined();
    await world.clock.elapse(6000);
    expect(world.revocation.tokenRevoked(before.jti)).toBe('superseded');
    expect([...next][0]?.adopted).toBe(false);
    next.close();
  });
});

describe('validation', () => {
  it('of a WIT-SVID says what it confirms, and is noted; a revoked one is refused', async () => {
    open();
    const [holder, verifier] = [livingInstance(), livingInstance()];
    const svid = await nth(witOf(holder), 1);
    const validation = new Validation(world);
    const verified = await validation.validateWit(verifier, svid.token);
    expect(verified).toMatchObject({ id: WEB, jti: svid.jti, confirmation: { kty: 'EC', alg: 'ES256' } });
    holder.finish('exited');
    await expect(validation.validateWit(verifier, svid.token)).rejects.toMatchObject({
      code: 'TOKEN_INVALID',
      message: 'token was revoked (cessationOfOperation)',
    });
    const named = { kind: 'wit', jti: svid.jti, decision: svid.decisionId, spiffe_id: WEB };
    expect(world.ledger.uses).toMatchObject([
      { type: 'svid.validated', ...named },
      { type: 'svid.rejected', ...named, reason: 'token was revoked (cessationOfOperation)' },
    ]);
    expect(world.ledger.uses[0]).not.toHaveProperty('audience');
  });

  it('of one kind of token takes none of the other', async () => {
    open();
    const holder = livingInstance();
    const wit = await nth(witOf(holder), 1);
    const [jwt] = await world.leases.of(holder).jwt(A, undefined);
    const validation = new Validation(world);
    await expect(validation.validateWit(holder, jwt?.svid.token ?? '')).rejects.toThrow('a typ other than wit+jwt');
    await expect(validation.validateJwt(holder, wit.token, parseAudience('a'))).rejects.toThrow('a typ other than JWT');
  });
});

it('what an entry that asks for another user leaves is withdrawn with its WIT-SVID', async () => {
  open();
  const stream = witOf(livingInstance());
  const { jti } = await nth(stream, 1);
  world.replaceEntries([plainEntry('web', { selectors: [parseSelector('unix:uid:4711')] })]);
  expect(await stream.ended).toMatchObject({ code: 'NO_IDENTITY' });
  expect(world.revocation.tokenRevoked(jti)).toBe('privilegeWithdrawn');
});
