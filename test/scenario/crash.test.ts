import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { Daemon, mayfly, NOBODY, nobodyRuns } from '../support/daemon.ts';
import { Home } from '../support/home.ts';
import { isRoot } from '../support/processes.ts';
import { WorkloadClient } from '../support/workload-client.ts';

const INJECTION = ['--import', new URL('../support/crash-on-signal.ts', import.meta.url).href];

const homes: Home[] = [];

function newHome(): Home {
  const home = new Home();
  homes.push(home);
  return home;
}

afterAll(() => {
  for (const home of homes) home.remove();
});

describe('what nobody has caught is a crash, with a line in the log, within a second', () => {
  for (const kind of ['rejection', 'exception'] as const) {
    test(`an unhandled ${kind}`, async () => {
      const home = newHome();
      await using daemon = await Daemon.start(home, { node: INJECTION, env: { CRASH: kind } });
      // Its process is waited for by a thread that sits in a system call.
      await using workload = new WorkloadClient(home.socket);
      await workload.x509();

      const { code, took } = await daemon.stop('SIGUSR2');
      expect(code).toBe(1);
      expect(took).toBeLessThan(1000);
      const crashed = daemon.log.all.at(-1);
      expect(crashed).toMatchObject({
        level: 'error',
        event: 'agent.crashed',
        msg: 'the agent cannot go on: on purpose',
      });
      expect(crashed?.['error']).toMatchObject({
        message: 'on purpose',
        stack: expect.stringContaining('crash-on-signal'),
      });
      expect(daemon.log.plain).toEqual([]);
      expect((await workload.says('end')).code).toBe('UNAVAILABLE');
    });
  }
});

test('an agent that was killed starts again with the same keys, and takes over who lives', async () => {
  const home = newHome();
  await using killed = await Daemon.start(home);
  await using workload = new WorkloadClient(home.socket);
  const { serial, roots } = await workload.x509();
  expect(await killed.leases()).toMatchObject([{ serial, pid: workload.pid }]);
  expect(await killed.stop('SIGKILL')).toMatchObject({ code: null, signal: 'SIGKILL' });
  expect(existsSync(home.socket)).toBe(true);

  const refused = await mayfly(['--socket', home.socket, 'fetch', 'x509']);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain(`no agent is running at ${home.socket}`);

  await using daemon = await Daemon.start(home);
  expect(await daemon.leases()).toMatchObject([{ pid: workload.pid, adopted: true }]);
  await using later = new WorkloadClient(home.socket);
  const after = await later.x509();
  expect(after.roots).toBe(roots);
  expect(after.serial).not.toBe(serial);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(existsSync(home.socket)).toBe(false);
});

test('an agent leaves no core file', async () => {
  await using daemon = await Daemon.start(newHome());
  expect(readFileSync(`/proc/${daemon.pid}/limits`, 'utf8')).toMatch(/^Max core file size +0 +0 +bytes/m);
});

test.skipIf(isRoot && !nobodyRuns())(
  'an agent’s memory cannot be read by other processes of its user (not as root, unless others may read the clone)',
  async () => {
    const ids = isRoot ? { uid: NOBODY, gid: NOBODY } : {};
    const home = newHome();
    if (isRoot) home.give(NOBODY);
    await using daemon = await Daemon.start(home, isRoot ? { uid: NOBODY } : {});
    const opens = (file: string) => spawnSync('dd', [`if=${file}`, 'count=0'], ids).status === 0;

    const sleeper = spawn('/bin/sleep', ['60'], ids);
    expect(opens(`/proc/${sleeper.pid}/environ`)).toBe(true);
    sleeper.kill('SIGKILL');

    expect(opens(`/proc/${daemon.pid}/environ`)).toBe(false);
    expect(opens(`/proc/${daemon.pid}/mem`)).toBe(false);
    expect(opens(`/proc/${daemon.pid}/maps`)).toBe(false);

    // What it needs to know of itself it still knows, and it serves.
    await using workload = new WorkloadClient(home.socket, isRoot ? NOBODY : undefined);
    const said = await workload.tell('x509', 'x509', 'end');
    expect(said).toMatchObject(isRoot ? { code: 'PERMISSION_DENIED' } : { ids: ['spiffe://example.org/own'] });
    const status = await mayfly(
      ['--admin-socket', home.adminSocket, 'status', '--json'],
      isRoot ? { uid: NOBODY } : {},
    );
    expect(status.stderr).toBe('');
    expect(JSON.parse(status.stdout)).toMatchObject({
      pid: daemon.pid,
      resources: { descriptors: expect.any(Number) },
    });
  },
);
