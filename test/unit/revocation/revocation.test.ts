import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { CrlCoverage, IssuedX509 } from '../../../agent/authority/authority.ts';
import { Latest } from '../../../agent/kernel/latest.ts';
import { Revocation } from '../../../agent/revocation/revocation.ts';
import type { ReadCrl } from '../../support/crl-reader.ts';
import { readCrls } from '../../support/crl-reader.ts';
import { HAS_OPENSSL, openssl, pemOf } from '../../support/openssl.ts';
import type { RevocationWorld } from './revocation-world.ts';
import { CONFIG, DAY, HOUR, MINUTE, revocationWorld, SECOND } from './revocation-world.ts';

const directory = mkdtempSync(join(tmpdir(), 'mayfly-revocation-test-'));
afterAll(() => rmSync(directory, { recursive: true }));

let world: RevocationWorld;

beforeEach(() => {
  world = revocationWorld();
});

afterEach(() => world.close());

function lists(): ReadCrl[] {
  return readCrls(world.revocation.forBundles.value?.crls ?? []);
}

function svidLists(): ReadCrl[] {
  return readCrls(world.revocation.forSvids.value?.crls ?? []);
}

/** What OpenSSL says of a leaf, with the lists that verifiers have, at a time of the test's clock. */
function verify({ chain }: IssuedX509, at = world.clock.now()): string {
  const write = (name: string, text: string) => {
    const path = join(directory, name);
    writeFileSync(path, text);
    return path;
  };
  const roots = world.authority.bundle.value!.x509Authorities.map(pemOf).join('');
  const [leaf, ca] = chain.map(pemOf);
  const args = ['verify', '-x509_strict', '-crl_check_all', '-attime', String(Math.floor(at / 1000))];
  const files = ['-CAfile', write('roots.pem', roots), '-untrusted', write('ca.pem', ca!)];
  const pems = lists().map(({ pem }) => pem);
  return openssl([...args, ...files, '-CRLfile', write('lists.pem', pems.join('')), write('leaf.pem', leaf!)]).output;
}

describe('what is given out', () => {
  test('is there from the beginning: a list of every CA', () => {
    expect(lists().map(({ issuer }) => issuer.replace(/ \S+$/, ''))).toEqual(['root', 'issuing CA']);
    expect(svidLists()).toEqual(lists());
    expect(world.revocation.forBundles.value!.number).toBe(Math.max(...lists().map(({ number }) => number)));
  });

  test('is nothing at all where the authority does not answer for every CA, and status says why', async () => {
    const crls = new Latest<CrlCoverage>();
    const { clock, ledger, log } = world;
    const revocation = new Revocation({ authority: { crls }, ledger, clock, log, ...CONFIG });
    expect(revocation.forSvids.value).toEqual({ crls: [], number: 0 });
    expect(revocation.status()).toMatchObject({ givenOut: false, lists: [], bytes: 0n });
    crls.set({ complete: false, reason: 'other agents sign under the same root' });
    await clock.elapse(0);
    expect(revocation.status()).toMatchObject({ givenOut: false, reason: 'other agents sign under the same root' });
    await world.issue('lease');
    expect(revocation.end({ id: 'lease' }, 'exited').serials).toHaveLength(1);
    await clock.elapse(SECOND);
    expect(revocation.forBundles.value).toEqual({ crls: [], number: 0 });
    crls.set(world.authority.crls.value!);
    await clock.elapse(0);
    expect(revocation.forBundles.value!.crls).toHaveLength(2);
    expect(revocation.status()).toMatchObject({ givenOut: true, certificates: 1 });
    revocation.close();
    expect(log.lines.filter(({ event }) => event === 'revocation.not_given_out')).toHaveLength(2);
  });
});

describe.skipIf(!HAS_OPENSSL)('openssl verify -crl_check_all (skipped without openssl)', () => {
  test('accepts the living and refuses the dead', async () => {
    const [gone, alive] = [await world.issue('gone'), await world.issue('alive')];
    expect([verify(gone), verify(alive)]).toEqual([expect.stringContaining('OK'), expect.stringContaining('OK')]);
    world.revocation.end({ id: 'gone' }, 'exited');
    await world.clock.elapse(0);
    expect(verify(gone)).toContain('certificate revoked');
    expect(verify(alive)).toContain('OK');
    // As long as it lives, of which nothing more is heard.
    expect(verify(alive, alive.notAfter - SECOND)).toContain('OK');
  });

  test('accepts what a new issuing CA signs, and what the old one has signed, all through the change', async () => {
    const old = await world.issue('old', 6 * HOUR);
    const before = old.issuer;
    await world.clock.elapse(12 * HOUR - 35 * SECOND);
    const long = await world.issue('long', 12 * HOUR);
    await world.clock.elapse(5 * SECOND);
    expect(lists()).toHaveLength(3);
    expect(verify(long)).toContain('OK');
    await world.clock.elapse(10 * SECOND);
    const next = await world.issue('next', 12 * HOUR);
    expect(next.issuer).not.toBe(before);
    expect([verify(next), verify(long)]).toEqual([expect.stringContaining('OK'), expect.stringContaining('OK')]);
    world.revocation.end({ id: 'long' }, 'exited');
    await world.clock.elapse(0);
    expect([verify(next), verify(long)]).toEqual([
      expect.stringContaining('OK'),
      expect.stringContaining('certificate revoked'),
    ]);
  });

  test('accepts the living while the clock is set back by up to an hour and forward by days', async () => {
    const alive = await world.issue('alive', HOUR);
    world.clock.step(-59 * MINUTE);
    // A verifier whose clock is right does not see what the agent's says, and the other way round.
    expect(lists().every(({ thisUpdate }) => thisUpdate <= world.clock.now())).toBe(true);
    world.revocation.clockStepped();
    expect(verify(alive, alive.notBefore + MINUTE)).toContain('OK');
    world.clock.step(2 * DAY);
    const later = await world.issue('later', HOUR);
    await world.clock.elapse(0);
    world.revocation.clockStepped();
    expect(verify(later)).toContain('OK');
  });
});

test('the list of a new issuing CA is out seconds before it signs, whatever the interval and the load', async () => {
  const { authority, clock, revocation } = world;
  revocation.configure({ ...CONFIG, x509SvidInterval: HOUR, maxPushRate: 64 * 1024 });
  const outSince = new Map<string, number>();
  const see = () => {
    for (const { issuer } of svidLists()) if (!outSince.has(issuer)) outSince.set(issuer, clock.monotonic());
  };
  see();
  await clock.elapse(12 * HOUR - MINUTE);
  const [before] = [await world.issue('first')];
  let signs: number | undefined;
  for (let second = 0; second < 90 && signs === undefined; second++) {
    await world.issue(`lease-${second}`);
    revocation.end({ id: `lease-${second}` }, 'exited');
    await clock.elapse(SECOND);
    see();
    if ((await world.issue('second')).issuer !== before.issuer) signs = clock.monotonic();
  }
  const [, , listed] = outSince.values();
  expect(authority.status().keys.filter(({ use }) => use === 'issuing-ca')).toHaveLength(2);
  expect(signs! - listed!).toBeGreaterThanOrEqual(9 * SECOND);
});

test('whenever the agent stops, no certificate outlives the lists that verifiers have then', async () => {
  const { clock } = world;
  const outstanding: IssuedX509[] = [];
  for (let round = 0; round < 150; round++) {
    outstanding.push(await world.issue(`lease-${round}`, [MINUTE, HOUR, 12 * HOUR][round % 3]));
    if (round % 5 === 0) world.revocation.end({ id: `lease-${round}` }, 'exited');
    await clock.elapse(17 * MINUTE + round * SECOND);
    // A list of its CA, and one of the root.
    const ends = new Map(readCrls(world.revocation.forSvids.value!.crls).map((list) => [list.issuer, list]));
    const issuers = world.revocation.status().lists;
    const now = clock.now();
    for (const { issuer, notAfter } of outstanding.filter((each) => each.notAfter > now)) {
      expect(issuers.some((list) => list.issuer === issuer)).toBe(true);
      const names = [`issuing CA ${issuer.slice(0, 16)}`, [...ends.keys()].find((name) => name.startsWith('root'))!];
      for (const name of names) {
        expect(ends.get(name)!.nextUpdate).toBeGreaterThan(notAfter);
        expect(ends.get(name)!.thisUpdate).toBeLessThanOrEqual(now);
      }
    }
  }
  expect(new Set(outstanding.map(({ issuer }) => issuer)).size).toBeGreaterThan(3);
});

test('after a clock step everybody has lists that were signed anew', async () => {
  const before = world.revocation.forSvids.value!;
  await world.clock.elapse(2 * HOUR);
  world.clock.step(-90 * MINUTE);
  world.revocation.clockStepped();
  const after = world.revocation.forSvids.value!;
  expect(after).toBe(world.revocation.forBundles.value);
  expect(after.number).toBeGreaterThan(before.number);
  expect(lists().every(({ thisUpdate }) => thisUpdate <= world.clock.now())).toBe(true);
});

test('what has expired leaves the lists by itself, a minute later and another one at most', async () => {
  const { serial } = await world.issue('lease', MINUTE);
  world.revocation.end({ id: 'lease' }, 'exited');
  await world.clock.elapse(2 * MINUTE - SECOND);
  expect(lists().flatMap(({ serials }) => serials)).toEqual([serial]);
  await world.clock.elapse(MINUTE + 2 * SECOND);
  expect(lists().flatMap(({ serials }) => serials)).toEqual([]);
  const { pushes } = world.revocation.status();
  await world.clock.elapse(HOUR);
  expect(world.revocation.status().pushes).toBe(pushes);
});

test('status says what is on the lists, how large they are and how long the last revocation took', async () => {
  await world.issue('lease');
  await world.token('lease', 'a0');
  world.revocation.end({ id: 'lease' }, 'exited');
  await world.clock.elapse(0);
  const status = world.revocation.status();
  expect(status).toMatchObject({
    givenOut: true,
    certificates: 1,
    tokens: 1,
    maxBytes: 131_072n,
    lastDelayMs: 0,
    lifetimes: [],
    barred: 0,
    lists: [
      { use: 'root', certificates: 0 },
      { use: 'issuing-ca', certificates: 1 },
    ],
  });
  expect(status.bytes).toBe(
    BigInt(world.revocation.forBundles.value!.crls.reduce((sum, { length }) => sum + length, 0)),
  );
  expect(status.lists[1]!.number).toBe(BigInt(world.revocation.forBundles.value!.number));
});

test('closed, it leaves no alarm, and nothing is published any more', async () => {
  const before = world.revocation.forBundles.value;
  world.revocation.close();
  world.revocation.close();
  // The authority's own.
  expect(world.clock.alarms).toBe(1);
  await world.issue('lease');
  world.revocation.end({ id: 'lease' }, 'exited');
  world.revocation.clockStepped();
  await world.clock.elapse(DAY);
  expect(world.revocation.forBundles.value).toBe(before);
});
