import { afterAll, expect, test } from 'vitest';
import { Daemon, MAIN, mayfly } from '../support/daemon.ts';
import { Home } from '../support/home.ts';
import { eventually } from '../support/json-lines.ts';
import { WorkloadClient } from '../support/workload-client.ts';

const home = new Home();
afterAll(() => home.remove());

test('an agent whose log has no room serves, reloads and stops as if it had', { timeout: 60_000 }, async () => {
  const program = ['/bin/sh', '-c', 'exec "$@" 2>/dev/full', 'sh', process.execPath, MAIN] as const;
  await using daemon = Daemon.launch(home, { program });
  const asked = ['healthcheck', '--admin-socket', home.adminSocket, '--socket', home.socket];
  await eventually('it serves', async () => ((await mayfly(asked)).code === 0 ? true : undefined), 40_000);
  await using client = new WorkloadClient(home.socket);
  const { serial } = await client.x509();
  daemon.signal('SIGHUP');
  client.kill();
  await eventually('the end of the lease', async () => ((await daemon.leases()).length === 0 ? true : undefined));
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  const { stdout } = await mayfly(['audit', 'trace', serial, '--config', home.config]);
  expect(stdout).toContain('lease ended: its process ended');
});
