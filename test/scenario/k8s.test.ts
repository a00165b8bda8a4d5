import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Daemon, mayfly } from '../support/daemon.ts';
import { entry, Home } from '../support/home.ts';
import { eventually } from '../support/json-lines.ts';
import { TestKubelet } from '../support/kubelet.ts';
import { PodCgroups, UNIFIED } from '../support/pod-cgroups.ts';
import { containerId, running, type TestPod } from '../support/pods.ts';
import { WorkloadClient } from '../support/workload-client.ts';

// The machine's cgroups are everybody's: two runs of this file use none of each other's.
const idOf = (name: string): string => containerId(`${process.pid} ${name}`);
const uidOf = (name: string): string => `${idOf(name).slice(0, 8)}-4b5a-6978-8796-a5b4c3d2e1f0`;
/** A pod of the service account that its name begins with; each test has pods of its own. */
const pod = (name: string, more: Partial<TestPod> = {}): TestPod => ({
  uid: uidOf(name),
  name,
  serviceAccount: name.replace(/-.*/, ''),
  containers: [running(name, idOf(name))],
  ...more,
});
const entries = ['pay', 'ship'].map((name) => entry(name, ['k8s:ns:shop', `k8s:sa:${name}`]));
const home = new Home(Object.fromEntries(entries.map((text, index) => [`${index}.yaml`, text])));

// Real processes in real cgroups, of which a kubelet that is none tells over real TLS.
describe.skipIf(UNIFIED === undefined)('a process in a pod (needs root and cgroup2)', () => {
  let kubelet: TestKubelet;
  let daemon: Daemon;
  let cgroups: PodCgroups;
  let attestor: string;

  beforeAll(async () => {
    cgroups = new PodCgroups(UNIFIED ?? '');
    kubelet = await TestKubelet.start({ folder: home.folder });
    const { kubeletCaPath, kubeletSecurePort, tokenPath } = kubelet.options;
    attestor = [
      'attestors:',
      '  k8s:',
      '    enabled: true',
      '    poll_interval: 500ms',
      `    kubelet_secure_port: ${kubeletSecurePort}`,
      `    kubelet_ca_path: ${kubeletCaPath}`,
      `    token_path: ${tokenPath}`,
      '',
    ].join('\n');
    home.configure(attestor);
    daemon = await Daemon.start(home, { env: { MY_NODE_NAME: 'localhost' } });
  });

  afterAll(async () => {
    await daemon[Symbol.asyncDispose]();
    await kubelet.stop();
    await cgroups[Symbol.asyncDispose]();
    home.remove();
  });

  function workload(name: string, podUid = uidOf(name)): WorkloadClient {
    const client = new WorkloadClient(home.socket);
    cgroups.enter(client.pid, podUid, idOf(name));
    return client;
  }

  const hasEnded = ({ said }: WorkloadClient): boolean => said.all.some(({ event }) => event === 'end');

  test('gets the identity of its pod, and one in no pod none', async () => {
    kubelet.list(pod('pay-1'), pod('ship-1'));
    await using pay = workload('pay-1');
    await using ship = workload('ship-1');
    await using other = new WorkloadClient(home.socket);
    expect((await pay.x509()).ids).toEqual(['spiffe://example.org/pay']);
    expect((await ship.x509()).ids).toEqual(['spiffe://example.org/ship']);
    await expect(other.x509()).rejects.toThrow('PERMISSION_DENIED no identity issued');
    const pods = (await daemon.leases()).map((lease) => lease.pod?.name);
    expect(new Set(pods)).toEqual(new Set(['pay-1', 'ship-1']));
    const admin = ['--admin-socket', home.adminSocket];
    const inPay = await mayfly(['leases', '--in', 'shop/pay-1', ...admin]);
    expect(inPay.stdout.match(/spiffe:\S+/g)).toEqual(['spiffe://example.org/pay']);
    const told = await mayfly(['attest', String(ship.pid), '--entry', 'pay', ...admin]);
    expect(told).toMatchObject({ code: 1, stdout: expect.stringContaining('not pay: it is not k8s:sa:pay') });
    expect(told.stdout).toContain('gets spiffe://example.org/ship');
    expect(told.stdout).toMatch(/ {2}pod +\S+\/ship-1 /);
  });

  test('that calls before its container is listed waits for that, and is served', async () => {
    kubelet.list(pod('pay-2', { containers: [{ name: 'pay-2' }] }));
    await using pay = workload('pay-2');
    const asked = kubelet.requests;
    const served = pay.x509();
    await eventually('the list is asked for twice', () => (kubelet.requests > asked + 1 ? true : undefined));
    kubelet.list(pod('pay-2'));
    expect((await served).ids).toEqual(['spiffe://example.org/pay']);
  });

  test('does not wait behind those of another pod that are made to wait', async () => {
    const mark = daemon.log.mark;
    home.configure(`${attestor}peer: { max_attestations: 2 }`);
    await daemon.logged('config.reloaded', mark);
    kubelet.list(pod('pay-11', { containers: [{ name: 'pay-11' }] }), pod('ship-11'));
    await using waiting = workload('pay-11');
    await using more = workload('pay-11');
    await using ship = workload('ship-11');
    const asked = kubelet.requests;
    const served = waiting.x509();
    await eventually('it waits', () => (kubelet.requests > asked + 1 ? true : undefined));
    await expect(more.x509()).rejects.toThrow(`1 attestations of pod ${uidOf('pay-11')} are under way`);
    expect((await ship.x509()).ids).toEqual(['spiffe://example.org/ship']);
    kubelet.list(pod('pay-11'), pod('ship-11'));
    expect((await served).ids).toEqual(['spiffe://example.org/pay']);
    home.configure(attestor);
  });

  test('whose cgroup names another pod than the kubelet gets nothing', async () => {
    kubelet.list(pod('pay-3'), pod('ship-3'));
    await using forger = workload('ship-3', uidOf('pay-3'));
    await expect(forger.x509()).rejects.toThrow('UNAVAILABLE workload attestation failed');
    const told = await daemon.logged('serve.refused', 0, ({ reason }) => reason === 'ATTESTATION_FAILED');
    expect(told.msg).toContain(`by its cgroup it is in pod ${uidOf('pay-3')}`);
  });

  test('that is moved into the container of another pod loses what it had, and is what it is from then on', async () => {
    kubelet.list(pod('pay-7'), pod('ship-7'));
    await using watcher = workload('ship-7');
    await watcher.tell('bundles', 'bundles');
    await using mover = workload('pay-7');
    const { serial } = await mover.x509();
    cgroups.enter(mover.pid, uidOf('ship-7'), idOf('ship-7'));
    expect(await mover.says('end')).toMatchObject({ code: 'PERMISSION_DENIED' });
    await watcher.seesRevoked(serial);
    expect(await mover.stream(2)).toEqual(['spiffe://example.org/ship']);
    const ends = (await daemon.leases()).filter(({ pid }) => pid === mover.pid);
    expect(ends.map(({ spiffeId, pod: lives }) => [spiffeId, lives?.name])).toEqual([
      ['spiffe://example.org/ship', 'ship-7'],
    ]);
  });

  test('that moves on while it is being attested gets nothing of what it was', async () => {
    kubelet.list(pod('pay-9', { containers: [{ name: 'pay-9' }] }), pod('ship-9'));
    await using mover = workload('pay-9');
    const asked = kubelet.requests;
    const served = mover.stream(1);
    await eventually('its container is waited for', () => (kubelet.requests > asked + 1 ? true : undefined));
    cgroups.enter(mover.pid, uidOf('ship-9'), idOf('ship-9'));
    kubelet.list(pod('pay-9'), pod('ship-9'));
    expect(await served).toEqual(['PERMISSION_DENIED']);
    expect(await mover.stream(2)).toEqual(['spiffe://example.org/ship']);
    const { stdout } = await mayfly(['audit', 'trace', String(mover.pid), '--data-dir', home.dataDir]);
    expect(stdout).toContain('spiffe://example.org/ship');
    expect(stdout).not.toContain('spiffe://example.org/pay');
  });

  test('that has been forked off and left to itself is in the pod all the same, and ends with it', async () => {
    kubelet.list(pod('pay-10'), pod('ship-10'));
    await using orphan = new WorkloadClient(home.socket, undefined, { forks: true });
    cgroups.enter(orphan.pid, uidOf('pay-10'), idOf('pay-10'));
    orphan.send('fork');
    expect(await orphan.stream(1)).toEqual(['spiffe://example.org/pay']);
    expect((await daemon.leases()).some(({ pid }) => pid === orphan.pid)).toBe(false);
    kubelet.list(pod('ship-10'));
    expect(await orphan.says('end')).toMatchObject({ code: 'PERMISSION_DENIED' });
    expect((await daemon.leases()).some(({ pod: lives }) => lives?.name === 'pay-10')).toBe(false);
    // Once what was found a moment ago is forgotten, it cannot be told whether the kubelet lists it no more or not yet.
    expect(['PERMISSION_DENIED', 'UNAVAILABLE']).toEqual(expect.arrayContaining([...(await orphan.stream(2))]));
  });

  test('is what its engine’s cgroup says, whatever a cgroup below or beside that is called', async () => {
    kubelet.list(pod('pay-8'), pod('ship-8'));
    await using mover = workload('pay-8');
    await mover.x509();
    const forged = `cri-containerd-${idOf('ship-8')}.scope`;
    cgroups.enterPath(mover.pid, `${cgroups.pathOf(uidOf('pay-8'), idOf('pay-8'))}/${forged}`);
    expect(await mover.says('end')).toMatchObject({ code: 'PERMISSION_DENIED' });
    expect(await mover.stream(2)).toEqual(['spiffe://example.org/pay']);
    cgroups.enterPath(mover.pid, `/${forged}`);
    expect(await mover.stream(3)).toEqual(['PERMISSION_DENIED']);
    cgroups.enterPath(mover.pid, `/mine/kubepods/burstable/pod${uidOf('ship-8')}/${idOf('ship-8')}`);
    expect(await mover.stream(4)).toEqual(['UNAVAILABLE']);
    expect((await daemon.leases()).filter(({ pid }) => pid === mover.pid)).toEqual([]);
  });

  test('loses its identity with its pod, though it lives on, and what it had is revoked', async () => {
    kubelet.list(pod('pay-4'), pod('ship-4'));
    await using pay = workload('pay-4');
    await using ship = workload('ship-4');
    await ship.tell('bundles', 'bundles');
    await ship.x509();
    const { serial } = await pay.x509();
    kubelet.list(pod('pay-4', { deleted: '2026-11-24T13:00:00Z' }), pod('ship-4'));
    const asked = kubelet.requests;
    await eventually('two more lists', () => (kubelet.requests > asked + 1 ? true : undefined));
    expect(hasEnded(pay)).toBe(false);

    kubelet.list(pod('ship-4'));
    expect(await pay.says('end')).toMatchObject({ code: 'PERMISSION_DENIED' });
    await ship.seesRevoked(serial);
    expect(existsSync(`/proc/${pay.pid}`)).toBe(true);
    expect(hasEnded(ship)).toBe(false);
  });

  test('has none of what the pod before it of the same name had', async () => {
    kubelet.list(pod('pay-5'));
    await using before = workload('pay-5');
    const { serial } = await before.x509();
    const more = {
      uid: uidOf('pay-5b'),
      containers: [running('pay-5b', idOf('pay-5b'))],
      created: '2026-11-24T14:00:00Z',
    };
    kubelet.list(pod('pay-5', more));
    expect(await before.says('end')).toMatchObject({ code: 'PERMISSION_DENIED' });
    await using after = workload('pay-5b');
    const got = await after.x509();
    expect(got.ids).toEqual(['spiffe://example.org/pay']);
    expect(got.serial).not.toBe(serial);
  });

  test('keeps its identity while the kubelet is started anew and does not know its pods yet', async () => {
    kubelet.list(pod('pay-6'));
    await using pay = workload('pay-6');
    await pay.x509();
    await kubelet.stop();
    await eventually('the agent has noticed', async () => {
      const { attestors } = await daemon.status();
      const said = attestors.find(({ name }) => name === 'k8s')?.shortcomings.join();
      return said?.includes('does not listen') === true ? true : undefined;
    });
    const { ca, port } = kubelet;
    kubelet = await TestKubelet.start({ folder: home.folder, ca, port });
    await eventually('it lists nothing, twice', () => (kubelet.requests > 1 ? true : undefined), 15_000);
    expect(hasEnded(pay)).toBe(false);
    expect((await pay.x509('another')).ids).toEqual(['spiffe://example.org/pay']);
  });
});
