import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { Daemon, mayfly } from '../support/daemon.ts';
import { Home, ownEntry } from '../support/home.ts';
import { eventually } from '../support/json-lines.ts';
import { WorkloadClient } from '../support/workload-client.ts';
import type { SaidBundles } from '../support/workload-said.ts';

const homes: Home[] = [];

function newHome(config = ''): Home {
  const home = new Home(undefined, config);
  homes.push(home);
  return home;
}

afterAll(() => {
  for (const home of homes) home.remove();
});

/** The serials on the lists that a new process is given. */
async function revokedSerials(home: Home): Promise<readonly string[]> {
  await using client = new WorkloadClient(home.socket);
  const { crls } = (await client.tell('bundles', 'bundles', 'end')) as SaidBundles;
  return crls.flatMap(({ serials }) => serials);
}

function records(home: Home, type: string): Record<string, unknown>[] {
  const folder = join(home.dataDir, 'ledger');
  const segments = readdirSync(folder).filter((name) => name.startsWith('issuance-'));
  return segments
    .toSorted()
    .flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n'))
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((record) => record['type'] === type);
}

describe.each(['SIGKILL', 'SIGTERM'] as const)('after an agent that ended by %s', (signal) => {
  test('the living keep what they have, the dead are revoked, and who dies later is revoked then', async () => {
    const home = newHome();
    await using before = await Daemon.start(home);
    await using living = new WorkloadClient(home.socket);
    await using dying = new WorkloadClient(home.socket);
    await using later = new WorkloadClient(home.socket);
    const [alive, dead, late] = await Promise.all([living.x509(), dying.x509(), later.x509()]);
    const [token = ''] = (await dying.tell('jwt audience', 'jwt')).tokens;
    await before.stop(signal);
    dying.kill();
    await dying[Symbol.asyncDispose]();

    await using agent = await Daemon.start(home);
    const started = await revokedSerials(home);
    expect(started).toContain(dead.serial);
    expect(started).not.toContain(alive.serial);
    expect(started).not.toContain(late.serial);
    expect(records(home, 'lease.ended').find(({ lease }) => lease !== undefined)).toMatchObject({ reason: 'gone' });
    expect(records(home, 'lease.adopted')).toHaveLength(2);
    expect(records(home, 'agent.crashed')).toHaveLength(signal === 'SIGKILL' ? 1 : 0);
    const leases = await agent.leases();
    expect(new Map(leases.map(({ pid, adopted }) => [pid, adopted]))).toEqual(
      new Map([
        [living.pid, true],
        [later.pid, true],
      ]),
    );

    await using validator = new WorkloadClient(home.socket);
    expect(await validator.tell(`validate ${token} audience`, 'validated', 'refused')).toMatchObject({
      details: 'token was revoked (cessationOfOperation)',
    });

    // Nothing has connected since: it is watched all the same.
    later.kill();
    await agent.logged('lease.ended', 0, ({ reason }) => reason === 'exited');
    expect(await revokedSerials(home)).toContain(late.serial);

    // Its key went with the agent that made it: what it fetches now takes the place of what it had.
    const renewed = await living.x509('again');
    expect(renewed.serial).not.toBe(alive.serial);
    const superseded = await living.update(
      ({ crls }) => crls.some(({ serials }) => serials.includes(alive.serial)),
      'a list with the certificate of before',
    );
    expect(superseded.crls.flatMap(({ serials }) => serials)).not.toContain(renewed.serial);
    // A list does not wait for its records.
    await eventually(
      'it is recorded',
      () => records(home, 'svid.revoked').at(-1)?.['reason'] === 'superseded' || undefined,
    );

    const verified = await mayfly(['audit', 'verify', '--config', home.config]);
    expect(verified).toMatchObject({ code: 0, stderr: '' });
  });
});

test('a process that became another program meanwhile is not taken over', async () => {
  const home = newHome();
  await using before = await Daemon.start(home);
  await using workload = new WorkloadClient(home.socket);
  const { serial } = await workload.x509();
  await before.stop('SIGKILL');
  workload.send('exec');
  await executed(workload.pid);
  await using agent = await Daemon.start(home);
  expect(await revokedSerials(home)).toContain(serial);
  expect(records(home, 'lease.ended').at(-1)).toMatchObject({ reason: 'executed' });
  expect(await agent.leases()).toEqual([]);
});

test('an entry that went meanwhile takes its identities with it', async () => {
  const home = newHome();
  await using before = await Daemon.start(home);
  await using workload = new WorkloadClient(home.socket);
  const { serial } = await workload.x509();
  await before.stop('SIGKILL');
  home.replace('entries/own.yaml', ownEntry('other'));
  await using agent = await Daemon.start(home);
  expect(await revokedSerials(home)).toContain(serial);
  expect(records(home, 'lease.ended').at(-1)).toMatchObject({ reason: 'entry-removed' });
  expect(await agent.leases()).toEqual([]);
});

test('numbers of lists only grow, whatever agent signs them', async () => {
  const home = newHome();
  let newest = 0;
  for (const signal of ['SIGKILL', 'SIGTERM', 'SIGKILL'] as const) {
    await using agent = await Daemon.start(home);
    await using client = new WorkloadClient(home.socket);
    const { crls } = (await client.tell('bundles', 'bundles', 'end')) as SaidBundles;
    const numbers = crls.map(({ number }) => number);
    expect(Math.min(...numbers)).toBeGreaterThan(newest);
    newest = Math.max(...numbers);
    await agent.stop(signal);
  }
  expect(existsSync(home.socket)).toBe(true);
});

test('a process that was barred stays barred', async () => {
  const home = newHome();
  await using before = await Daemon.start(home);
  await using workload = new WorkloadClient(home.socket);
  await workload.x509();
  const revoked = await mayfly(['--admin-socket', home.adminSocket, 'revoke', '--all', '--yes', '--reason', 'stolen']);
  expect(revoked.code).toBe(0);
  await workload.says('end');
  await before.stop('SIGKILL');
  await using agent = await Daemon.start(home);
  expect(await workload.tell('x509 again', 'x509', 'end')).toMatchObject({ code: 'PERMISSION_DENIED' });
  expect(await agent.leases()).toEqual([]);
});

async function executed(pid: number): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('sleep')) {
    if (performance.now() > deadline) throw new Error(`process ${pid} did not become another program`);
    await new Promise((resolve) => {
      setTimeout(resolve, 5);
    });
  }
}
