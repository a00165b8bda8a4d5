import { afterAll, beforeAll, expect, test } from 'vitest';
import { comeAndGoMany } from '../support/come-and-go.ts';
import { Daemon } from '../support/daemon.ts';
import { Home } from '../support/home.ts';
import { eventually } from '../support/json-lines.ts';
import { WorkloadClient } from '../support/workload-client.ts';
import type { SaidBundles } from '../support/workload-said.ts';

const PROCESSES = 400;
const AT_A_TIME = 8;

const home = new Home();
let daemon: Daemon;

beforeAll(async () => {
  daemon = await Daemon.start(home);
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  home.remove();
});

test('four hundred short processes each get their own certificate, each is revoked, and the others notice nothing', async () => {
  await using neighbour = new WorkloadClient(home.socket);
  await using watcher = new WorkloadClient(home.socket);
  const { serial } = await neighbour.x509();
  await watcher.tell('bundles', 'bundles');

  const said = await comeAndGoMany(home.socket, PROCESSES, AT_A_TIME);

  const serials = new Set(said.map((each) => each.serial));
  expect(said.filter(({ verified }) => !verified)).toEqual([]);
  expect(serials.size).toBe(PROCESSES);
  const lists = await eventually('all of them are on the list', () => {
    const { crls } = watcher.said.all.findLast((each): each is SaidBundles => each.event === 'bundles') ?? { crls: [] };
    const listed = new Set(crls.flatMap((crl) => crl.serials));
    return serials.isSubsetOf(listed) ? listed : undefined;
  });
  expect(lists.size).toBe(PROCESSES);
  expect(lists.has(serial)).toBe(false);

  // The neighbour still has what it had, and was not told more often than once a second.
  const updates = neighbour.said.all.filter((each) => each.event === 'x509');
  expect(new Set(updates.map((update) => update.serial))).toEqual(new Set([serial]));
  expect(neighbour.said.all).toHaveLength(updates.length);
  const { leases, revocation } = await daemon.status();
  expect(leases?.ended).toEqual({ exited: BigInt(PROCESSES) });
  expect(revocation?.certificates).toBe(PROCESSES);
}, 60_000);
