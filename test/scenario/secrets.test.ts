import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Daemon, leasesGone } from '../support/daemon.ts';
import { Home, ownEntry } from '../support/home.ts';
import { copiesIn } from '../support/memory-search.ts';
import { isRoot } from '../support/processes.ts';
import { WorkloadClient } from '../support/workload-client.ts';

const home = new Home({ 'own.yaml': ownEntry('own', ['x509_svid_ttl: 10s']) });
let daemon: Daemon;

beforeAll(async () => {
  daemon = await Daemon.start(home);
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  home.remove();
});

async function keyOf(workload: WorkloadClient): Promise<Buffer> {
  const { scalar } = await workload.tell('key', 'key');
  return Buffer.from(scalar, 'hex');
}

/**
 * What of the number stands on one line of the key's PEM: it begins 36 bytes into the PKCS#8 of a P-256 key, at the 48th of the 64
 * characters of the first line.
 */
function inPem(key: Buffer): Buffer {
  return Buffer.from(key.toString('base64').slice(16, 40));
}

describe.skipIf(!isRoot)('the agent’s memory (needs root, to look into it)', () => {
  test('holds one copy of a living process’ key, and none of a dead one’s', async () => {
    await using workload = new WorkloadClient(home.socket);
    await workload.x509();
    const key = await keyOf(workload);
    expect(copiesIn(daemon.pid, key)).toBe(1);
    workload.kill();
    await leasesGone(daemon);
    expect(copiesIn(daemon.pid, key)).toBe(0);
  });

  test('holds one copy of a WIT-SVID’s key, as the text that it is sent as; none of it in numbers, and none of a dead one’s', async () => {
    await using workload = new WorkloadClient(home.socket);
    const { secret } = await workload.tell('wit', 'wit');
    const [text, number] = [Buffer.from(secret), Buffer.from(secret, 'base64url')];
    expect([text, number].map((each) => copiesIn(daemon.pid, each))).toEqual([1, 0]);
    await workload.tell('wit other', 'wit');
    expect(copiesIn(daemon.pid, text)).toBe(1);
    workload.kill();
    await leasesGone(daemon);
    expect([text, number].map((each) => copiesIn(daemon.pid, each))).toEqual([0, 0]);
  });

  test('holds none of a key that was replaced', async () => {
    await using workload = new WorkloadClient(home.socket);
    const { serial } = await workload.x509();
    const key = await keyOf(workload);
    await workload.update(({ serial: now }) => now !== serial, 'the next certificate');
    expect(copiesIn(daemon.pid, key)).toBe(0);
    expect(copiesIn(daemon.pid, await keyOf(workload))).toBe(1);
  });

  test('holds one copy, however many streams it was sent on', async () => {
    await using workload = new WorkloadClient(home.socket);
    for (const connection of ['a', 'b', 'c']) await workload.x509(connection);
    expect(copiesIn(daemon.pid, await keyOf(workload))).toBe(1);
  });

  test('holds no more of it for the ways of SDS, and none in PEM', async () => {
    await using workload = new WorkloadClient(home.socket);
    await workload.x509();
    const key = await keyOf(workload);
    for (const way of ['stream', 'delta', 'fetch']) {
      expect(await workload.tell(`secrets ${way} ${way}`, 'secrets')).toEqual({ event: 'secrets', count: 1 });
    }
    expect(copiesIn(daemon.pid, key)).toBe(1);
    expect(copiesIn(daemon.pid, inPem(key))).toBe(0);
    workload.kill();
    await leasesGone(daemon);
    expect(copiesIn(daemon.pid, key)).toBe(0);
  });

  test('may hold one more for each connection whose authority was rewritten, in memory that was given back', async () => {
    await using workload = new WorkloadClient(home.socket);
    await workload.x509('rewritten');
    const key = await keyOf(workload);
    expect([1, 2]).toContain(copiesIn(daemon.pid, key));
    workload.kill();
    await leasesGone(daemon);
    expect([0, 1]).toContain(copiesIn(daemon.pid, key));
  });
});
