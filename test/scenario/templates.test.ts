import { userInfo } from 'node:os';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { Daemon, mayfly, NOBODY, nobodyRuns } from '../support/daemon.ts';
import { Home } from '../support/home.ts';
import { WorkloadClient } from '../support/workload-client.ts';

const USERS = `entries:
  - id: users
    spiffe_id: spiffe://example.org/user/{{unix.user}}/uid-{{unix.uid}}
    dns_names: [ "u{{unix.uid}}.internal" ]
`;
const { uid, username } = userInfo();
const OWN = `spiffe://example.org/user/${username}/uid-${uid}`;

const homes: Home[] = [];
function newHome(): Home {
  const home = new Home({ 'users.yaml': USERS });
  homes.push(home);
  return home;
}

afterAll(() => {
  for (const home of homes) home.remove();
});

describe('one template', () => {
  test.skipIf(!nobodyRuns())('gives each user an identity of its own', async () => {
    const home = newHome();
    await using daemon = await Daemon.start(home);
    await using mine = new WorkloadClient(home.socket);
    await using others = new WorkloadClient(home.socket, NOBODY);
    const [own, other] = await Promise.all([mine.x509(), others.x509()]);
    expect(own.ids).toEqual([OWN]);
    expect(other.ids).toEqual([`spiffe://example.org/user/nobody/uid-${NOBODY}`]);
    const leases = await daemon.leases();
    expect(new Map(leases.map(({ pid, entryId, spiffeId }) => [pid, [entryId, spiffeId]]))).toEqual(
      new Map([
        [mine.pid, ['users', own.ids[0]]],
        [others.pid, ['users', other.ids[0]]],
      ]),
    );
    const revoked = await mayfly([
      'revoke',
      '--spiffe-id',
      other.ids[0] ?? '',
      '--reason',
      'test',
      '--admin-socket',
      home.adminSocket,
    ]);
    expect(revoked.code).toBe(0);
    expect(await others.stream(2)).toEqual(['PERMISSION_DENIED']);
    // While a call is being refused, it has a lease with nothing in it.
    const left = async () => expect((await daemon.leases()).map(({ pid }) => pid)).toEqual([mine.pid]);
    await vi.waitFor(left, { timeout: 5000 });
  });

  test('is shown as it is written, and checked without a start', async () => {
    const home = newHome();
    expect(await mayfly(['check', '--config', home.config])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('is good: 1 entry, 0 warnings'),
    });
    await using _daemon = await Daemon.start(home);
    const shown = await mayfly(['entries', '--admin-socket', home.adminSocket]);
    expect(shown.stdout).toContain('users  spiffe://example.org/user/{{unix.user}}/uid-{{unix.uid}}\n');
    expect(shown.stdout).toContain('u{{unix.uid}}.internal');
    home.replace('entries/users.yaml', USERS.replace('{{unix.user}}', '{{unix.usr}}'));
    expect(await mayfly(['check', '--config', home.config])).toMatchObject({
      code: 1,
      stdout: expect.stringContaining(
        'users.yaml:3:16: entries[0].spiffe_id: {{unix.usr}} asks for usr, which unix does not say; did you mean user?',
      ),
    });
  });

  test('keeps what it gave over a restart, and ends it with another text', async () => {
    const home = newHome();
    await using before = await Daemon.start(home);
    await using workload = new WorkloadClient(home.socket);
    expect((await workload.x509()).ids).toEqual([OWN]);
    await before.stop('SIGKILL');

    await using next = await Daemon.start(home);
    expect((await next.leases()).map(({ adopted, spiffeId }) => [adopted, spiffeId])).toEqual([[true, OWN]]);
    await next.stop('SIGKILL');

    home.replace('entries/users.yaml', USERS.replace('/user/', '/u/'));
    await using last = await Daemon.start(home);
    expect(await last.leases()).toEqual([]);
    expect((await workload.x509('again')).ids).toEqual([`spiffe://example.org/u/${username}/uid-${uid}`]);
  });
});
