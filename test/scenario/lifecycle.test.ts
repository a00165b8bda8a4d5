import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Daemon, leasesGone, mayfly } from '../support/daemon.ts';
import { entry, Home, ownEntry } from '../support/home.ts';
import { eventually } from '../support/json-lines.ts';
import { isRoot } from '../support/processes.ts';
import { WorkloadClient } from '../support/workload-client.ts';

const HEIR = new URL('../support/inherited-connection.ts', import.meta.url).pathname;
const ALICE = 41_001;
const BOB = 41_002;
const STRANGER = 41_003;

const home = new Home({
  'own.yaml': ownEntry(),
  'alice.yaml': entry('alice', [`unix:uid:${ALICE}`]),
  'bob.yaml': entry('bob', [`unix:uid:${BOB}`]),
});
const shortLived = new Home({ 'own.yaml': ownEntry('short', ['x509_svid_ttl: 10s']) });
let daemon: Daemon;
let rotating: { daemon: Daemon; workload: WorkloadClient };

beforeAll(async () => {
  [daemon, rotating] = await Promise.all([
    Daemon.start(home),
    (async () => {
      const started = await Daemon.start(shortLived);
      return { daemon: started, workload: new WorkloadClient(shortLived.socket) };
    })(),
  ]);
  await rotating.workload.x509();
});

afterAll(async () => {
  await rotating.workload[Symbol.asyncDispose]();
  await Promise.all([daemon, rotating.daemon].map((each) => each[Symbol.asyncDispose]()));
  home.remove();
  shortLived.remove();
});

/** Waits until nothing is open on the Workload API. */
async function nobodyIsLeft(): Promise<void> {
  await leasesGone(daemon);
  await eventually('no connection and no stream is open', async () => {
    const { peer } = await daemon.status();
    return peer?.connections === 0 && peer.streams === 0 ? true : undefined;
  });
}

describe('an identity lives as long as its process', () => {
  test('that is killed', async () => {
    await using workload = new WorkloadClient(home.socket);
    const { serial } = await workload.x509();
    const { leases } = JSON.parse((await mayfly(['--admin-socket', home.adminSocket, 'leases', '--json'])).stdout) as {
      leases: object[];
    };
    expect(leases).toMatchObject([
      { pid: workload.pid, entry_id: 'own', spiffe_id: 'spiffe://example.org/own', serial, rotations: 0 },
    ]);
    expect((await daemon.status()).peer).toMatchObject({ connections: 1, streams: 1 });

    workload.kill('SIGKILL');
    expect(await leasesGone(daemon)).toBeLessThan(1000);
    await nobodyIsLeft();
    expect(await daemon.logged('lease.ended', 0, (line) => line.msg.includes(String(workload.pid)))).toMatchObject({
      reason: 'exited',
      entry: 'own',
    });
    const after = await mayfly(['--admin-socket', home.adminSocket, 'leases', '--json']);
    expect(JSON.parse(after.stdout)).toEqual({ leases: [] });
  });

  test('that asked once and keeps nothing open', async () => {
    await using workload = new WorkloadClient(home.socket);
    await workload.tell('jwt audience', 'jwt');
    expect(await daemon.leases()).toMatchObject([{ pid: workload.pid, tokens: 1, serial: '' }]);
    expect(await workload.end()).toBe(0);
    expect(await leasesGone(daemon)).toBeLessThan(1000);
    await nobodyIsLeft();
  });

  test('that becomes another program', async () => {
    await using workload = new WorkloadClient(home.socket);
    await workload.x509();
    const changed = async () => (await daemon.status()).leases?.ended['executed'] ?? 0n;
    const before = await changed();
    const mark = daemon.log.mark;
    workload.send('exec');
    expect(await daemon.logged('lease.ended', mark)).toMatchObject({ reason: 'executed' });
    expect(process.kill(workload.pid, 0)).toBe(true);
    expect(await changed()).toBe(before + 1n);
    await nobodyIsLeft();
  });

  test('and not as long as a child that holds the connection', async () => {
    await using workload = new WorkloadClient(home.socket);
    const issued = (await daemon.status()).leases?.x509Issued;
    expect((await workload.tell(`leave ${HEIR}`, 'inherited')).got).toMatch(/^(closed|PERMISSION_DENIED)$/);
    expect((await daemon.status()).leases?.x509Issued).toBe(issued);
    await nobodyIsLeft();
  });

  test('and as long as its entry', async () => {
    await using workload = new WorkloadClient(home.socket);
    await workload.x509();
    home.write('entries/own.yaml', 'entries: []\n');
    expect(await workload.says('end')).toMatchObject({ code: 'PERMISSION_DENIED', details: 'no identity issued' });
    expect(await daemon.leases()).toEqual([]);
    const refused = await workload.tell('jwt audience', 'jwt', 'refused');
    expect(refused).toMatchObject({ code: 'PERMISSION_DENIED', details: 'no identity issued' });
    const mark = daemon.log.mark;
    home.write('entries/own.yaml', ownEntry());
    await daemon.logged('entries.reloaded', mark);
    expect((await workload.x509()).ids).toEqual(['spiffe://example.org/own']);
  });
});

describe('an identity belongs to one process', () => {
  test('whose connections all get the same', async () => {
    await using workload = new WorkloadClient(home.socket);
    const one = await workload.x509('one');
    const two = await workload.x509('two');
    expect(two.stream).not.toBe(one.stream);
    expect((await daemon.status()).peer).toMatchObject({ connections: 2, streams: 2 });
    expect({ ...two, stream: one.stream }).toEqual(one);
    expect(await daemon.leases()).toHaveLength(1);
  });

  test('and to no other of the same entry', async () => {
    await using one = new WorkloadClient(home.socket);
    await using two = new WorkloadClient(home.socket);
    const [a, b] = await Promise.all([one.x509(), two.x509()]);
    expect(a.ids).toEqual(b.ids);
    expect(a.key).not.toBe(b.key);
    expect(a.serial).not.toBe(b.serial);
    const [tokenA, tokenB] = await Promise.all([one.tell('jwt audience', 'jwt'), two.tell('jwt audience', 'jwt')]);
    expect(tokenA.tokens).toHaveLength(1);
    expect(tokenA.tokens).not.toEqual(tokenB.tokens);
    expect((await one.tell('jwt audience', 'jwt')).tokens).toEqual(tokenA.tokens);
  });

  test.skipIf(!isRoot)('and follows its user (needs root)', async () => {
    await using alice = new WorkloadClient(home.socket, ALICE);
    await using bob = new WorkloadClient(home.socket, BOB);
    await using stranger = new WorkloadClient(home.socket, STRANGER);
    expect((await alice.x509()).ids).toEqual(['spiffe://example.org/alice']);
    expect((await bob.x509()).ids).toEqual(['spiffe://example.org/bob']);
    const issued = (await daemon.status()).leases;
    expect(await stranger.tell('x509', 'x509', 'end')).toMatchObject({
      code: 'PERMISSION_DENIED',
      details: 'no identity issued',
    });
    expect(await stranger.tell('jwt audience', 'jwt', 'refused')).toMatchObject({ code: 'PERMISSION_DENIED' });
    expect((await daemon.status()).leases).toMatchObject({
      x509Issued: issued?.x509Issued,
      jwtIssued: issued?.jwtIssued,
      live: 2,
    });
  });
});

describe('two processes talk TLS with their identities', () => {
  test('and each knows the other', async () => {
    const [serverId, clientId] = isRoot ? ['alice', 'bob'] : ['own', 'own'];
    await using server = new WorkloadClient(home.socket, isRoot ? ALICE : undefined);
    await using client = new WorkloadClient(home.socket, isRoot ? BOB : undefined);
    await Promise.all([server.x509(), client.x509()]);
    const { port } = await server.tell('serve', 'serving');
    expect(await client.tell(`dial ${port} spiffe://example.org/${serverId}`, 'dialed', 'rejected')).toEqual({
      event: 'dialed',
      peer: `spiffe://example.org/${serverId}`,
    });
    expect(await server.says('accepted')).toEqual({ event: 'accepted', peer: `spiffe://example.org/${clientId}` });
    expect(await client.tell(`dial ${port} spiffe://example.org/another`, 'dialed', 'rejected')).toEqual({
      event: 'rejected',
      reason: `it is spiffe://example.org/${serverId}, not spiffe://example.org/another`,
    });
  });

  test('and not with those of another agent, though it names the same trust domain', async () => {
    await using server = new WorkloadClient(home.socket);
    await server.x509();
    const { port } = await server.tell('serve', 'serving');
    const dialed = await rotating.workload.tell(`dial ${port} spiffe://example.org/own`, 'dialed', 'rejected');
    expect(dialed).toMatchObject({ event: 'rejected', reason: expect.stringMatching(/certificate/) });
    expect(server.said.all.map(({ event }) => event)).not.toContain('accepted');
  });
});

test('a certificate of ten seconds is replaced while it is valid, with a new key', async () => {
  const { workload } = rotating;
  const before = await workload.update(() => true, 'the first update');
  expect(before.notAfter - before.notBefore).toBe(20_000);
  const after = await workload.update(({ serial }) => serial !== before.serial, 'a new certificate');
  // It is valid from ten seconds before it was made.
  expect(after.notBefore + 10_000).toBeLessThan(before.notAfter);
  expect(after.ids).toEqual(['spiffe://example.org/short']);
  expect(after.key).not.toBe(before.key);
  expect(after.notAfter).toBeGreaterThan(before.notAfter);
  expect(after.roots).toBe(before.roots);
  expect(workload.said.all.map(({ event }) => event)).not.toContain('end');
  const [lease] = await rotating.daemon.leases();
  expect(lease?.rotations).toBeGreaterThan(0);
  expect(lease?.renewalError).toBe('');
  await workload.update(({ serial }) => serial === lease?.serial, 'the certificate of the lease');
});
