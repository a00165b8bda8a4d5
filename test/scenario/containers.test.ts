import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Daemon, mayfly } from '../support/daemon.ts';
import { TestEngine } from '../support/engine.ts';
import { entry, Home } from '../support/home.ts';
import { eventually } from '../support/json-lines.ts';
import { PodCgroups, UNIFIED } from '../support/pod-cgroups.ts';
import { WorkloadClient } from '../support/workload-client.ts';

// The machine's cgroups are everybody's: two runs of this file use none of each other's.
const SLICE = `/mayfly-${process.pid}.slice`;
const idOf = (name: string): string => createHash('sha256').update(`${process.pid} ${name}`).digest('hex');
const scopeOf = (name: string): string => `${SLICE}/docker-${idOf(name)}.scope`;
/** Each container has the label that its name begins with. */
const labels = (name: string) => ({ tier: name.replace(/-.*/, '') });
const entries = ['web', 'db'].map((name) => entry(name, [`docker:label:tier:${name}`]));
const home = new Home(Object.fromEntries(entries.map((text, index) => [`${index}.yaml`, text])));

// Real processes in real cgroups, of which an engine that is none tells over a real socket.
describe.skipIf(UNIFIED === undefined)('a process in a container (needs root and cgroup2)', () => {
  let cgroups: PodCgroups;
  let daemon: Daemon;
  let engine: TestEngine;

  beforeAll(async () => {
    cgroups = new PodCgroups(UNIFIED ?? '');
    engine = new TestEngine(home.path('engine.sock'));
    await engine.start();
    home.configure(`attestors: { docker: { enabled: true, socket: ${engine.path} } }`);
    daemon = await Daemon.start(home);
  });
  afterAll(async () => {
    await daemon[Symbol.asyncDispose]();
    await engine.stop();
    await cgroups[Symbol.asyncDispose]();
    home.remove();
  });

  /** A process that is the first of its container. */
  function workload(name: string): WorkloadClient {
    const client = new WorkloadClient(home.socket);
    cgroups.enterPath(client.pid, scopeOf(name));
    engine.set({ id: idOf(name), pid: client.pid, labels: labels(name) });
    return client;
  }

  test('gets the identity of its container, and one in no container none', async () => {
    await using web = workload('web-1');
    await using db = workload('db-1');
    await using other = new WorkloadClient(home.socket);
    expect((await web.x509()).ids).toEqual(['spiffe://example.org/web']);
    expect((await db.x509()).ids).toEqual(['spiffe://example.org/db']);
    await expect(other.x509()).rejects.toThrow('PERMISSION_DENIED no identity issued');
    const inWeb = await mayfly(['leases', '--in', idOf('web-1'), '--admin-socket', home.adminSocket]);
    expect(inWeb.stdout.match(/spiffe:\S+/g)).toEqual(['spiffe://example.org/web']);
  });

  test('loses it with its container, though it lives on, and what it had is revoked', async () => {
    await using web = workload('web-2');
    await using beside = workload('web-3');
    await beside.tell('bundles', 'bundles');
    await beside.x509();
    const { serial } = await web.x509();
    await eventually('its container is watched', () => (engine.followers > 0 ? true : undefined));
    engine.set({ id: idOf('web-2'), pid: 0, running: false });
    engine.tell({ status: 'die', id: idOf('web-2'), Type: 'container', Action: 'die' });
    expect(await web.says('end')).toMatchObject({ code: 'PERMISSION_DENIED' });
    await beside.seesRevoked(serial);
    expect(existsSync(`/proc/${web.pid}`)).toBe(true);
    // At once by what was found a moment ago, later by what the engine says.
    expect(['PERMISSION_DENIED', 'UNAVAILABLE']).toContain((await web.stream(2)).join());
    expect(beside.said.all.some(({ event }) => event === 'end')).toBe(false);
  });

  test('that moves itself into another container loses what it had, and gets nothing of that one', async () => {
    await using mover = workload('web-4');
    const { serial } = await mover.x509();
    await using db = workload('db-4');
    await db.tell('bundles', 'bundles');
    await db.x509();
    cgroups.enterPath(mover.pid, scopeOf('db-4'));
    expect(await mover.says('end')).toMatchObject({ code: 'PERMISSION_DENIED' });
    await db.seesRevoked(serial);
    expect(await mover.stream(2)).toEqual(['UNAVAILABLE']);
    expect((await daemon.leases()).filter(({ pid }) => pid === mover.pid)).toEqual([]);
  });

  test('is what its own container is, whatever a cgroup below or beside it is called', async () => {
    await using db = workload('db-5');
    await db.x509();
    await using forger = workload('web-5');
    const forged = `docker-${idOf('db-5')}.scope`;
    cgroups.enterPath(forger.pid, `${scopeOf('web-5')}/${forged}`);
    expect(await forger.stream(1)).toEqual(['spiffe://example.org/web']);
    cgroups.enterPath(forger.pid, `${SLICE}/mine/${forged}`);
    expect(await forger.stream(2)).toEqual(['UNAVAILABLE']);
    expect((await daemon.leases()).filter(({ pid }) => pid === forger.pid)).toEqual([]);
  });

  test('gets nothing while the engine is away, and then what is its due; one in no container is refused at once', async () => {
    await using web = workload('web-6');
    await engine.stop();
    await using other = new WorkloadClient(home.socket);
    expect(await web.stream(1)).toEqual(['UNAVAILABLE']);
    expect(await other.stream(1)).toEqual(['PERMISSION_DENIED']);
    await engine.start();
    expect(await web.stream(2)).toEqual(['spiffe://example.org/web']);
  });

  test('that an agent takes over after a restart loses its identity with its container all the same', async () => {
    await using web = workload('web-7');
    await using beside = workload('web-8');
    const { serial } = await web.x509();
    await beside.x509();
    await daemon.stop('SIGKILL');
    daemon = await Daemon.start(home);
    const inWeb = async () => (await daemon.leases()).filter(({ container }) => container?.id === idOf('web-7'));
    expect((await inWeb()).map(({ pid }) => pid)).toEqual([web.pid]);
    // Nobody has asked for anything since.
    await eventually('its container is watched', () => (engine.followers > 0 ? true : undefined));
    engine.set({ id: idOf('web-7'), pid: 0, running: false });
    engine.tell({ status: 'die', id: idOf('web-7'), Type: 'container', Action: 'die' });
    await eventually('its lease is over', async () => ((await inWeb()).length === 0 ? true : undefined));
    expect(existsSync(`/proc/${web.pid}`)).toBe(true);
    const { stdout } = await mayfly(['audit', 'trace', serial, '--data-dir', home.dataDir]);
    expect(stdout).toMatch(/revoked/);
    expect((await daemon.leases()).map(({ pid }) => pid)).toEqual([beside.pid]);
  });
});
