import { afterAll, beforeAll, expect, test } from 'vitest';
import { comeAndGo, comeAndGoMany } from '../support/come-and-go.ts';
import { Daemon } from '../support/daemon.ts';
import { Home, ownEntry } from '../support/home.ts';
import type { Inventory } from '../support/inventory.ts';
import { eventually } from '../support/json-lines.ts';
import type { ShortSaid } from '../support/short-process.ts';
import { WorkloadClient } from '../support/workload-client.ts';

const INVENTORY = new URL('../support/inventory.ts', import.meta.url).href;

const PROCESSES = 200;
const AT_A_TIME = 8;

// The shortest lifetimes that there are: an issuing CA is followed after five seconds, a root after twelve.
const home = new Home(
  undefined,
  `authority: { ca_ttl: 10s, root_ttl: 24s, jwt_key_ttl: 15s }
defaults: { x509_svid_ttl: 5s, jwt_svid_ttl: 5s }
log_level: warn`,
);
let daemon: Daemon;

beforeAll(async () => {
  daemon = Daemon.launch(home, { node: ['--import', INVENTORY] });
  // Its log tells only what is wrong.
  await eventually('the agent serves', async () => (await daemon.healthy('').catch(() => false)) || undefined);
  daemon.disconnect();
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  home.remove();
});

/** What the agent holds once nobody is connected any more, the test neither. */
async function holdings() {
  await eventually('all have been let go', async () => {
    const { leases, peer } = await daemon.status();
    const left = (leases?.live ?? 1) + (peer?.connections ?? 1) + (peer?.instances ?? 1) + (peer?.streams ?? 1);
    return left === 0 ? true : undefined;
  });
  daemon.disconnect();
  return eventually('no process is looked after', async () => {
    const mark = daemon.log.mark;
    daemon.signal('SIGUSR2');
    const line: unknown = await daemon.logged('agent.inventory', mark);
    const { objects, alarms, descriptors } = line as Inventory;
    // The start's own work is over two seconds after it.
    const passing = ['peer/looks', 'cli/start-up-memory', 'revocation/publisher', 'lease/holdings'];
    if (passing.some((name) => alarms[name] !== undefined)) return undefined;
    // The authority's own depend on where in its rotation it is: it may be writing its keys at this moment.
    const { 'authority/local': _, ...others } = alarms;
    const open = Object.entries(descriptors).filter(([kind]) => !kind.includes('/authority'));
    return { objects, alarms: others, descriptors: Object.fromEntries(open) };
  });
}

test('two hundred processes come and go while entries change and the CA rotates, and nothing is left of them', async () => {
  // What is made at the first call only is no leak.
  await comeAndGo(home.socket, 'leave');
  const before = await holdings();
  // The clock, the ledger’s checkpoint, sweep and retention, and the clearing of lists.
  expect(before.alarms).toEqual({ 'lease/leases': 1, 'ledger/ledger': 3, 'revocation/revocation': 1 });

  await using long = new WorkloadClient(home.socket);
  await long.x509();
  const stop = new AbortController();
  const churn = (async () => {
    for (let round = 1; !stop.signal.aborted; round += 1) {
      home.replace(
        'entries/own.yaml',
        ownEntry('own', [`hint: round-${round}`, `dns_names: [ r${round % 3}.internal ]`]),
      );
      await long.update(({ hints }) => hints.includes(`round-${round}`), `the entry of round ${round}`);
    }
  })();

  let said: readonly ShortSaid[];
  try {
    said = await comeAndGoMany(home.socket, PROCESSES, AT_A_TIME);
  } finally {
    stop.abort();
    await churn;
  }

  expect(said).toHaveLength(PROCESSES);
  expect(said.filter(({ verified, id }) => !verified || id !== 'spiffe://example.org/own')).toEqual([]);
  expect(new Set(said.map(({ serial }) => serial)).size).toBe(PROCESSES);
  // The CA has rotated under them, and so have the certificates of the one that stayed.
  expect(new Set(said.map(({ issuer }) => issuer)).size).toBeGreaterThan(1);
  const updates = long.said.all.filter(({ event }) => event === 'x509');
  expect(updates.length).toBe(long.said.all.length);
  const { leases, authority } = await daemon.status();
  expect(leases?.live).toBe(1);
  expect(authority?.keys.length).toBeGreaterThan(3);
  expect(await long.end()).toBe(0);

  const after = await holdings();
  expect(after.descriptors).toEqual(before.descriptors);
  expect(after.alarms).toEqual(before.alarms);
  // A loop that waits for the next update keeps what it had in hand at the last: a few, however many there were.
  expect(after.objects).toMatchObject({ Connection: 0, Lease: 0 });
  expect(after.objects.Workload).toBeLessThan(AT_A_TIME);
  expect(after.objects.HeldProcess).toBeLessThan(4 * AT_A_TIME);
  expect(daemon.log.all.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([]);
  expect((await daemon.stop()).code).toBe(0);
}, 60_000);
