import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { Daemon, leasesGone, mayfly } from '../support/daemon.ts';
import { Home } from '../support/home.ts';
import { WorkloadClient } from '../support/workload-client.ts';

const REVOKED = 'token was revoked (cessationOfOperation)';
const homes: Home[] = [];

function newHome(config = ''): Home {
  const home = new Home(undefined, config);
  homes.push(home);
  return home;
}

afterAll(() => {
  for (const home of homes) home.remove();
});

/** What a process of its own is told of a WIT-SVID. */
async function verdict(home: Home, token: string): Promise<object> {
  await using verifier = new WorkloadClient(home.socket);
  return await verifier.tell(`validate-wit ${token}`, 'validated', 'refused');
}

describe('a WIT-SVID', () => {
  let daemon: Daemon | undefined;
  afterEach(() => daemon?.[Symbol.asyncDispose]());

  test('is good while its process lives, through an agent that crashes, and refused as soon as it is dead', async () => {
    const home = newHome();
    daemon = await Daemon.start(home);
    await using living = new WorkloadClient(home.socket);
    await using dying = new WorkloadClient(home.socket);
    const [alive, dead] = await Promise.all([living.tell('wit', 'wit'), dying.tell('wit', 'wit')]);
    expect(alive.secret).not.toBe(dead.secret);
    expect(await verdict(home, alive.token)).toMatchObject({ id: alive.ids[0] });
    const keys = () => readFileSync(join(home.dataDir, 'authority', 'keys.json'), 'utf8');
    const before = keys();

    await daemon.stop('SIGKILL');
    dying.kill();
    await dying[Symbol.asyncDispose]();
    daemon = await Daemon.start(home);
    expect(keys()).toBe(before);
    expect(await verdict(home, alive.token)).toMatchObject({ event: 'validated' });
    expect(await verdict(home, dead.token)).toMatchObject({ code: 'INVALID_ARGUMENT', details: REVOKED });
    expect(await daemon.leases()).toMatchObject([{ pid: living.pid, adopted: true }]);

    const next = await living.tell('wit again', 'wit');
    expect(next.jti).not.toBe(alive.jti);
    living.kill();
    await leasesGone(daemon);
    for (const { token } of [alive, next]) expect(await verdict(home, token)).toMatchObject({ details: REVOKED });
  });

  test('is known to an operator: leases, status, audit, a drill, and a revocation of it alone', async () => {
    const home = newHome();
    daemon = await Daemon.start(home);
    const admin = (...args: string[]) => mayfly(['--admin-socket', home.adminSocket, ...args]);
    await using workload = new WorkloadClient(home.socket);
    const first = await workload.tell('wit', 'wit');
    expect(await daemon.leases()).toMatchObject([{ pid: workload.pid, wit: first.jti, serial: '' }]);
    expect((await daemon.status()).leases).toMatchObject({ witIssued: 1n, x509Issued: 0n });

    const told = () => workload.said.all.flatMap((said) => (said.event === 'wit' ? [said.jti] : []));
    const drilled = await admin('drill', '--pid', String(workload.pid), '--json');
    expect(drilled).toMatchObject({ code: 0, stderr: '' });
    const [, second = ''] = told();
    expect(JSON.parse(drilled.stdout)).toMatchObject({
      leases: [{ pid: workload.pid, old_jti: first.jti, new_jti: second, old_serial: '', new_serial: '' }],
      subscribers: [{ pid: workload.pid, method: 'FetchWITSVID', what: 'wit-svid', told: true }],
    });

    const revoked = await admin('revoke', '--jti', second, '--reason', 'leaked', '--json');
    expect(JSON.parse(revoked.stdout)).toMatchObject({ revoked: [{ jtis: [second], ended: false }] });
    const third = await workload.said.first((said) => said.event === 'wit' && said.jti !== second, 'another', 0);
    expect(third).toBeDefined();
    const trace = await mayfly(['audit', 'trace', second, '--data-dir', home.dataDir]);
    expect(trace.code).toBe(0);
    expect(trace.stdout).toContain(`WIT-SVID ${second} issued as a renewal for 1h`);
    expect(trace.stdout).toContain(`revoked as keyCompromise (leaked): WIT-SVID ${second}`);

    const ended = await admin('drill', '--pid', String(workload.pid), '--revoke', '--json');
    expect(JSON.parse(ended.stdout)).toMatchObject({
      subscribers: [{ pid: workload.pid, method: 'FetchWITSVID', what: 'end', told: true }],
    });
  });

  test('is fetched, validated and shown by the program itself', async () => {
    const home = newHome();
    daemon = await Daemon.start(home);
    const api = (...args: string[]) => mayfly(['--socket', home.socket, ...args]);
    const fetched = await api('fetch', 'wit', '--json');
    expect(fetched.code).toBe(0);
    const [{ token }] = (JSON.parse(fetched.stdout) as { svids: [{ token: string }] }).svids;
    // It went with the process that fetched it.
    await leasesGone(daemon);
    expect(await verdict(home, token)).toMatchObject({ details: REVOKED });
    const { stdout } = await api('bundle', 'show', '--wit');
    expect(stdout).toMatch(/^spiffe:\/\/example\.org\n {2}WIT {4}[\w-]{43}, EC P-256\n$/);
  });

  test('is not there where it is switched off, and its key is no longer made', async () => {
    const home = newHome('wit: { enabled: false }\n');
    daemon = await Daemon.start(home);
    const fetched = await mayfly(['--socket', home.socket, 'fetch', 'wit']);
    expect(fetched).toMatchObject({ code: 1, stdout: '' });
    expect(fetched.stderr).toContain('does not offer this: the WIT-SVID profile is switched off');
    expect(await verdict(home, 'x')).toMatchObject({ code: 'UNIMPLEMENTED' });
    expect((await daemon.status()).authority?.keys.map(({ use }) => use)).toEqual(['root', 'issuing-ca', 'jwt']);
    expect((await mayfly(['--socket', home.socket, 'bundle', 'show'])).stdout).toMatch(
      /^spiffe:\/\/example\.org\n {2}X\.509 .*\n {2}JWT .*\n$/,
    );
  });
});
