import { afterAll, beforeAll, expect, test } from 'vitest';
import { comeAndGo } from '../support/come-and-go.ts';
import { Daemon, mayfly } from '../support/daemon.ts';
import { Home } from '../support/home.ts';
import { WorkloadClient } from '../support/workload-client.ts';

const HOUR = 3_600_000;
const PROCESSES = 60;

// Room for some eighty revoked certificates.
const home = new Home(undefined, 'revocation: { max_bytes: 4KiB, min_x509_svid_ttl: 10s }');
let daemon: Daemon;

beforeAll(async () => {
  daemon = await Daemon.start(home);
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  home.remove();
});

test('where processes die young, first certificates get short, and who lives on is given the entry’s lifetime', async () => {
  await using settled = new WorkloadClient(home.socket);
  const long = await settled.x509();
  expect(long.notAfter - long.notBefore).toBeGreaterThan(HOUR - 1);
  let begun = 0;
  const worker = async () => {
    while (begun++ < PROCESSES) await comeAndGo(home.socket, 'leave');
  };
  await Promise.all(Array.from({ length: 6 }, worker));

  await using newcomer = new WorkloadClient(home.socket);
  const short = await newcomer.x509();
  expect(short.notAfter - Date.now()).toBeLessThan(HOUR / 2);
  expect(short.notAfter - Date.now()).toBeGreaterThan(5000);
  const { revocation } = await daemon.status();
  expect(revocation?.lifetimes[0]).toMatchObject({ entryId: 'own', age: 0 });
  expect(revocation?.lifetimes[0]?.lifetime).toBeLessThan(1800);
  const told = await mayfly(['--admin-socket', home.adminSocket, 'status']);
  expect(told.stdout).toMatch(/first certificates of own \(spiffe:\/\/example\.org\/own\) to /);

  // Those who have lived on do not die so fast: the next certificate of one of them is as long as the entry says.
  const renewed = await mayfly(['--admin-socket', home.adminSocket, 'drill', '--pid', String(settled.pid)]);
  expect(renewed).toMatchObject({ code: 0, stderr: '' });
  const next = await settled.update(({ serial }) => serial !== long.serial, 'the next certificate');
  expect(next.notAfter - Date.now()).toBeGreaterThan(HOUR - 60_000);
});
