import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { Daemon, endOf, MAIN, plainEnvironment } from '../support/daemon.ts';
import { Home } from '../support/home.ts';
import { JsonLines } from '../support/json-lines.ts';
import { WorkloadClient } from '../support/workload-client.ts';

const WHILE_STARTING = ['--import', new URL('../support/signal-while-starting.ts', import.meta.url).href];

const homes: Home[] = [];

function newHome(): Home {
  const home = new Home();
  homes.push(home);
  return home;
}

afterAll(() => {
  for (const home of homes) home.remove();
});

/** What an agent that has stopped leaves behind. */
const AFTERWARDS = ['data', 'entries', 'mayfly.yaml'];

test('SIGTERM ends every stream with UNAVAILABLE, also beside one that never reads, and the agent within five seconds', async () => {
  const home = newHome();
  await using daemon = await Daemon.start(home);
  await using workload = new WorkloadClient(home.socket);
  await using deaf = new WorkloadClient(home.socket);
  await using idle = new WorkloadClient(home.socket);
  await Promise.all([
    workload.x509('one'),
    workload.tell('bundles two', 'bundles'),
    deaf.tell('unread', 'connected'),
    idle.tell('idle', 'connected'),
  ]);
  const mark = workload.said.mark;

  const { code, took } = await daemon.stop('SIGTERM');
  expect(code).toBe(0);
  expect(took).toBeLessThan(5000);
  await Promise.all([deaf.says('closed'), idle.says('closed')]);
  for (const stream of [1, 2]) {
    const end = await workload.said.first((said) => said.event === 'end' && said.stream === stream, 'the end', mark);
    expect(end).toMatchObject({ code: 'UNAVAILABLE', details: 'the agent is stopping' });
  }
  expect(readdirSync(home.folder)).toEqual(AFTERWARDS);
  expect(daemon.log.all.map(({ event }) => event)).not.toContain('agent.stop_forced');
  expect(daemon.log.all.at(-1)?.event).toBe('agent.stopped');
});

test('SIGINT does the same, and without callers it takes no time', async () => {
  const home = newHome();
  await using daemon = await Daemon.start(home);
  const { code, took } = await daemon.stop('SIGINT');
  expect(code).toBe(0);
  expect(took).toBeLessThan(1000);
  expect(readdirSync(home.folder)).toEqual(AFTERWARDS);
});

test('a second and a third signal do not cut the stop short', async () => {
  const home = newHome();
  await using daemon = await Daemon.start(home);
  await using deaf = new WorkloadClient(home.socket);
  await deaf.tell('unread', 'connected');
  daemon.signal('SIGTERM');
  await deaf.says('closed');
  daemon.signal('SIGINT');
  const { code } = await daemon.stop('SIGTERM');
  expect(code).toBe(0);
  expect(daemon.log.all.filter(({ event }) => event === 'agent.stopped')).toHaveLength(1);
  expect(readdirSync(home.folder)).toEqual(AFTERWARDS);
});

describe('while the agent starts', () => {
  test('SIGTERM stops it in order as soon as it has', async () => {
    const home = newHome();
    await using daemon = Daemon.launch(home, { node: WHILE_STARTING, env: { SIGNAL: 'SIGTERM' } });
    expect(await daemon.ended()).toEqual({ code: 0, signal: null });
    expect(daemon.log.all.at(-1)?.event).toBe('agent.stopped');
    expect(readdirSync(home.folder)).toEqual(AFTERWARDS);
  });

  test('SIGHUP does not end it', async () => {
    const home = newHome();
    await using daemon = await Daemon.start(home, { node: WHILE_STARTING, env: { SIGNAL: 'SIGHUP' } });
    expect((await daemon.status()).serving).toBe(true);
    expect((await daemon.stop()).code).toBe(0);
  });
});

test('SIGHUP reads all files again, and ends nothing', async () => {
  const home = newHome();
  await using daemon = await Daemon.start(home);
  await using workload = new WorkloadClient(home.socket);
  await workload.x509();
  daemon.signal('SIGHUP');
  expect(await daemon.logged('agent.reloaded')).toMatchObject({ level: 'info', msg: 'all files were read again' });
  home.write('entries/own.yaml', 'entries: [ { id: bad } ]');
  const mark = daemon.log.mark;
  daemon.signal('SIGHUP');
  const told = await daemon.logged('agent.reloaded', mark);
  expect(told).toMatchObject({ level: 'info', msg: 'some files could not be read again' });
  expect(workload.said.all.map(({ event }) => event)).toEqual(['x509']);
  expect(existsSync(home.socket)).toBe(true);
});

test('a client that follows is served again by the agent that comes after', async () => {
  const home = newHome();
  await using first = await Daemon.start(home);
  const watch = spawn(process.execPath, [MAIN, '--socket', home.socket, '--json', 'watch'], {
    env: plainEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = endOf(watch);
  type Update = { changed: string[]; svids: { spiffe_id: string; serial: string }[] };
  const updates = new JsonLines<Update>(watch.stdout);
  try {
    const before = await updates.first(() => true, 'the first update');
    const mark = updates.mark;
    await first.stop();
    await using second = await Daemon.start(home);
    const after = await updates.first(() => true, 'an update of the second agent', mark);
    expect(after.svids.map(({ spiffe_id: id }) => id)).toEqual(['spiffe://example.org/own']);
    expect(after.svids[0]?.serial).not.toBe(before.svids[0]?.serial);
    expect(await second.leases()).toMatchObject([{ pid: watch.pid, serial: after.svids[0]?.serial }]);
  } finally {
    watch.kill('SIGINT');
  }
  expect((await ended).code).toBe(0);
});
