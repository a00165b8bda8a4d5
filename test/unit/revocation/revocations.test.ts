import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { LeaseEndReason } from '../../../agent/ledger/event.ts';
import { readCrls } from '../../support/crl-reader.ts';
import { MemoryLedger } from '../../support/memory-ledger.ts';
import type { RevocationWorld } from './revocation-world.ts';
import { BOOT_ID, DAY, HOUR, issuedEvent, MINUTE, revocationWorld, SECOND } from './revocation-world.ts';

let world: RevocationWorld;

beforeEach(() => {
  world = revocationWorld();
});

afterEach(() => world.close());

/** The serials on all lists that followers of bundles have. */
function listed(of = world.revocation): string[] {
  return readCrls(of.forBundles.value?.crls ?? []).flatMap(({ serials }) => [...serials]);
}

function endings() {
  return world.ledger.events.filter(({ type }) => type === 'lease.ended' || type === 'svid.revoked');
}

describe('the end of a lease', () => {
  test('revokes all that has not expired, in the ledger, on the lists and on the denylist', async () => {
    const { clock, ledger, revocation } = world;
    const first = await world.issue('lease');
    const second = await world.issue('lease');
    await world.token('lease', 'a0');
    const { decision } = ledger.state.leases.get('lease')!;

    const ended = revocation.end({ id: 'lease' }, 'exited', { detail: 'it was killed by signal 9' });
    expect(ended).toEqual({ serials: [first.serial, second.serial], jtis: ['a0'] });
    expect(revocation.tokenRevoked('a0')).toBe('cessationOfOperation');
    const about = { lease: 'lease', parent: decision, entry: 'payments', spiffe_id: 'spiffe://example.org/payments' };
    expect(endings()).toEqual([
      {
        type: 'svid.revoked',
        ...about,
        reason: 'cessationOfOperation',
        cause: 'exited',
        certificates: [first, second].map(({ issuer, notAfter, serial }) => ({
          serial,
          issuer,
          expires_at: new Date(notAfter).toISOString(),
        })),
        tokens: [{ jti: 'a0', expires_at: new Date(clock.now() + 5 * MINUTE).toISOString() }],
      },
      {
        type: 'lease.ended',
        ...about,
        instance: { pid: 7, start_time: '70', uid: 1000, gid: 1000 },
        owner: 'team@example.org',
        reason: 'exited',
        detail: 'it was killed by signal 9',
      },
    ]);
    expect(ledger.state.leases.size).toBe(0);
    await clock.elapse(0);
    expect(listed()).toEqual([first.serial, second.serial]);
  });

  test('is recorded once, and of a lease that nothing was issued under not at all', async () => {
    await world.issue('lease');
    world.revocation.end({ id: 'lease' }, 'exited');
    const before = world.ledger.events.length;
    expect(world.revocation.end({ id: 'lease' }, 'exited')).toEqual({ serials: [], jtis: [] });
    expect(world.revocation.end({ id: 'never' }, 'exited')).toEqual({ serials: [], jtis: [] });
    expect(world.ledger.events).toHaveLength(before);
  });

  test('revokes nothing of a lease whose last certificate and token have expired', async () => {
    await world.issue('lease', MINUTE);
    await world.token('lease', 'a0', MINUTE);
    world.clock.advance(MINUTE);
    expect(world.revocation.end({ id: 'lease' }, 'expired')).toEqual({ serials: [], jtis: [] });
    expect(endings()).toMatchObject([{ type: 'lease.ended', reason: 'expired' }]);
    await world.clock.elapse(SECOND);
    expect(listed()).toEqual([]);
    expect(world.revocation.tokenRevoked('a0')).toBeUndefined();
  });

  test('takes no other lease with it', async () => {
    await world.issue('lease');
    const other = await world.issue('other');
    await world.token('other', 'b0');
    world.revocation.end({ id: 'lease' }, 'exited');
    await world.clock.elapse(0);
    expect(listed()).not.toContain(other.serial);
    expect(world.revocation.tokenRevoked('b0')).toBeUndefined();
  });

  test('with thousands of tokens is told in records of a thousand, the certificates once', async () => {
    await world.issue('lease');
    for (let token = 0; token < 2500; token++) await world.token('lease', `t${token}`);
    expect(world.revocation.end({ id: 'lease' }, 'exited').jtis).toHaveLength(2500);
    const records = world.ledger.of('svid.revoked');
    expect(records.map(({ tokens }) => tokens.length)).toEqual([1000, 1000, 500]);
    expect(records.map(({ certificates }) => certificates.length)).toEqual([1, 0, 0]);
    expect(world.revocation.tokenRevoked('t2499')).toBe('cessationOfOperation');
  });

  test('cut off by a crash at any record leaves nothing issued that is neither revoked nor of a living lease', async () => {
    const { ledger } = world;
    const { serial } = await world.issue('lease');
    for (let token = 0; token < 1500; token++) await world.token('lease', `t${token}`);
    const before = ledger.events.length;
    world.revocation.end({ id: 'lease' }, 'exited');
    for (let kept = before; kept <= ledger.events.length; kept++) {
      const { state } = replay(ledger, kept);
      const lease = state.leases.get('lease');
      for (const id of ['t0', 't999', 't1000', 't1499']) {
        expect(lease?.tokens.has(id) === true || state.revokedTokens.has(id)).toBe(true);
      }
      expect(lease?.certificates.has(serial) === true || state.revokedCertificates.has(serial)).toBe(true);
    }
  });
});

test.each<[LeaseEndReason, string]>([
  ['exited', 'cessationOfOperation'],
  ['executed', 'cessationOfOperation'],
  ['changed-ids', 'cessationOfOperation'],
  ['changed-cgroup', 'cessationOfOperation'],
  ['changed-namespace', 'cessationOfOperation'],
  ['expired', 'cessationOfOperation'],
  ['gone', 'cessationOfOperation'],
  ['replaced', 'cessationOfOperation'],
  ['rebooted', 'cessationOfOperation'],
  ['entry-removed', 'privilegeWithdrawn'],
  ['entry-changed', 'privilegeWithdrawn'],
  ['selectors-changed', 'privilegeWithdrawn'],
  ['refused', 'privilegeWithdrawn'],
  ['unverifiable', 'privilegeWithdrawn'],
  ['revoked', 'keyCompromise'],
])('a lease that ended as %s is revoked with %s', async (reason, code) => {
  await world.token('lease', 'a0');
  world.revocation.end({ id: 'lease' }, reason);
  expect(world.revocation.tokenRevoked('a0')).toBe(code);
});

test('an operator says why, in words and in code', async () => {
  await world.issue('lease');
  world.revocation.end({ id: 'lease' }, 'revoked', { cause: 'laptop stolen', code: 'affiliationChanged' });
  expect(endings()).toMatchObject([{ reason: 'affiliationChanged', cause: 'laptop stolen' }, { reason: 'revoked' }]);
});

describe('single ones', () => {
  test('certificates are superseded while their lease goes on, and are not revoked again at its end', async () => {
    const old = await world.issue('lease');
    const current = await world.issue('lease');
    world.revocation.supersede('lease', 'serial', [old.serial, 'ffff']);
    expect(endings()).toMatchObject([
      { type: 'svid.revoked', reason: 'superseded', certificates: [{ serial: old.serial }], tokens: [] },
    ]);
    world.revocation.supersede('lease', 'serial', [old.serial]);
    world.revocation.supersede('never', 'serial', [current.serial]);
    expect(endings()).toHaveLength(1);
    await world.clock.elapse(0);
    expect(listed()).toEqual([old.serial]);
    expect(world.revocation.end({ id: 'lease' }, 'exited').serials).toEqual([current.serial]);
  });

  test('a token is revoked alone; one that nobody knows is not', async () => {
    const { ledger, revocation } = world;
    await world.token('lease', 'a0');
    await world.token('lease', 'a1');
    const pushes = revocation.status().pushes;
    revocation.revokeToken('a0', { cause: 'it was logged', code: 'keyCompromise' });
    revocation.revokeToken('zz', { cause: 'it was logged', code: 'keyCompromise' });
    expect([revocation.tokenRevoked('a0'), revocation.tokenRevoked('a1')]).toEqual(['keyCompromise', undefined]);
    expect(revocation.tokenRevoked('zz')).toBeUndefined();
    expect(endings()).toMatchObject([{ cause: 'it was logged', certificates: [], tokens: [{ jti: 'a0' }] }]);
    expect(ledger.state.leases.get('lease')!.tokens.has('a1')).toBe(true);
    // Tokens are on no list: nobody is told anything.
    await world.clock.elapse(SECOND);
    expect(revocation.status().pushes).toBe(pushes);
  });
});

describe('the denylist', () => {
  /** As the ledger does a few times a minute. */
  const sweep = () => world.ledger.state.prune(world.clock.now());

  test('is not what a clock that jumps ahead says: set back again, no token holds that was revoked', async () => {
    const { clock, revocation } = world;
    await world.token('lease', 'a0');
    revocation.end({ id: 'lease' }, 'exited');
    clock.step(DAY);
    await clock.elapse(2 * MINUTE);
    sweep();
    clock.step(-DAY);
    expect(revocation.tokenRevoked('a0')).toBe('cessationOfOperation');
  });

  test('has a token until nobody takes it any longer, whatever the ledger has forgotten', async () => {
    const { clock, revocation } = world;
    await world.token('lease', 'a0', HOUR);
    revocation.end({ id: 'lease' }, 'exited');
    await clock.elapse(HOUR + MINUTE);
    expect(revocation.tokenRevoked('a0')).toBe('cessationOfOperation');
    expect(revocation.status().tokens).toBe(1);
    await clock.elapse(3 * MINUTE);
    expect(revocation.tokenRevoked('a0')).toBeUndefined();
    expect(revocation.status().tokens).toBe(0);
  });

  test('says of a token why it was revoked first', async () => {
    const { revocation } = world;
    await world.token('lease', 'a0');
    revocation.revokeToken('a0', { cause: 'it was logged', code: 'keyCompromise' });
    revocation.end({ id: 'lease' }, 'exited');
    expect(revocation.tokenRevoked('a0')).toBe('keyCompromise');
  });
});

describe('a restart', () => {
  test('takes over what was revoked, with a higher number', async () => {
    const gone = await world.issue('lease');
    const alive = await world.issue('other');
    await world.token('lease', 'a0');
    world.revocation.end({ id: 'lease' }, 'exited');
    await world.clock.elapse(0);
    const before = world.revocation.forBundles.value!;
    world.revocation.close();

    world.clock.advance(SECOND);
    const next = world.open(replay(world.ledger));
    expect(next.forBundles.value!.number).toBeGreaterThan(before.number);
    expect(listed(next)).toEqual([gone.serial]);
    expect(next.tokenRevoked('a0')).toBe('cessationOfOperation');
    expect(next.end({ id: 'other' }, 'gone').serials).toEqual([alive.serial]);
  });
});

describe('a process that was revoked by hand', () => {
  const instance = { bootId: BOOT_ID, pid: 7, startTime: '70' };

  test('is given nothing again of that entry until it is allowed, over a restart too', async () => {
    const { ledger, revocation } = world;
    await world.issue('lease');
    expect(revocation.isBarred(instance, 'payments')).toBe(false);
    revocation.bar(ledger.state.leases.get('lease')!, 'stolen');
    revocation.bar(ledger.state.leases.get('lease')!, 'stolen');
    revocation.end({ id: 'lease' }, 'revoked');
    expect(ledger.of('reissue.barred')).toEqual([
      {
        type: 'reissue.barred',
        pid: 7,
        start_time: '70',
        entry: 'payments',
        spiffe_id: 'spiffe://example.org/payments',
        reason: 'stolen',
      },
    ]);
    expect(revocation.isBarred(instance, 'payments')).toBe(true);
    expect(revocation.isBarred(instance, 'reports')).toBe(false);
    expect(revocation.isBarred({ ...instance, startTime: '71' }, 'payments')).toBe(false);
    expect(revocation.status().barred).toBe(1);
    expect(world.open(replay(ledger)).isBarred(instance, 'payments')).toBe(true);
  });

  test('is allowed again where it is meant', async () => {
    const { ledger, revocation } = world;
    await ledger.append(issuedEvent('one', world.clock.now(), { jti: 'a0' }));
    const other = { instance: { pid: 8, start_time: '80', uid: 0, gid: 0 }, entry: 'reports' };
    await ledger.append(
      issuedEvent('two', world.clock.now(), { jti: 'b0', spiffe_id: 'spiffe://example.org/r', ...other }),
    );
    for (const lease of ledger.state.leases.values()) revocation.bar(lease, 'stolen');
    expect(revocation.allow(({ instance: { pid } }) => pid === 9, 'found')).toBe(0);
    expect(revocation.allow(({ spiffeId }) => spiffeId === 'spiffe://example.org/r', 'found')).toBe(1);
    expect(ledger.of('reissue.allowed')).toEqual([
      {
        type: 'reissue.allowed',
        pid: 8,
        start_time: '80',
        entry: 'reports',
        spiffe_id: 'spiffe://example.org/r',
        reason: 'found',
      },
    ]);
    expect(revocation.isBarred(instance, 'payments')).toBe(true);
    expect(revocation.allow(() => true, 'found')).toBe(1);
    expect(revocation.isBarred(instance, 'payments')).toBe(false);
  });
});

test('the deaths of young processes shorten the next first certificates, by the entry, and those of the old do not', async () => {
  const { clock, ledger, revocation } = world;
  for (let death = 0; death < 500; death++) {
    await ledger.append(
      issuedEvent(`lease-${death}`, clock.now(), { serial: `4d${(0x1000 + death).toString(16)}`, issuer: 'aa' }),
    );
    revocation.end({ id: `lease-${death}` }, 'exited');
    clock.advance(10);
  }
  expect(revocation.bound({ entryId: 'payments', spiffeId: 'spiffe://example.org/payments' }, 0, HOUR)).toBeLessThan(
    2 * MINUTE,
  );
  expect(revocation.bound({ entryId: 'payments', spiffeId: 'spiffe://example.org/payments' }, 2 * HOUR, HOUR)).toBe(
    HOUR,
  );
  expect(revocation.bound({ entryId: 'reports', spiffeId: 'spiffe://example.org/reports' }, 0, HOUR)).toBe(HOUR);
  expect(revocation.status().lifetimes).toMatchObject([{ entryId: 'payments', age: 0 }]);
  expect(revocation.status().lifetimes[0]!.lifetime).toBeLessThan(120);
});

/** The ledger as a start finds it after `kept` of its records. */
function replay(ledger: MemoryLedger, kept = ledger.events.length): MemoryLedger {
  const restored = new MemoryLedger(world.clock, BOOT_ID);
  for (const event of ledger.events.slice(0, kept)) {
    if ('lifetime_given' in event) void restored.append(event);
    else if (event.type !== 'svid.refused' && event.type !== 'caller.refused') restored.note(event);
  }
  return restored;
}
