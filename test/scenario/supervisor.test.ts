import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Daemon } from '../support/daemon.ts';
import { Datagrams } from '../support/datagrams.ts';
import { Home } from '../support/home.ts';

test('a service manager hears of readiness, reload, stop, and all the time that the agent is alive', async () => {
  const home = new Home();
  using manager = new Datagrams(home.path('notify'));
  await using daemon = Daemon.launch(home, { env: { NOTIFY_SOCKET: home.path('notify'), WATCHDOG_USEC: '400000' } });
  const [first] = await manager.until((all) => all.length > 0, 'readiness');
  expect(first).toBe('READY=1\nSTATUS=serving identities');
  expect(await daemon.healthy('')).toBe(true);

  const beats = () => manager.receive().filter((each) => each === 'WATCHDOG=1').length;
  await manager.until(() => beats() >= 3, 'the watchdog');
  // One that hangs says nothing.
  daemon.signal('SIGSTOP');
  await delay(300);
  const before = beats();
  await delay(1000);
  expect(beats()).toBe(before);
  daemon.signal('SIGCONT');
  await manager.until(() => beats() > before, 'the watchdog again');

  daemon.signal('SIGHUP');
  await manager.until((all) => all.some((each) => each.startsWith('RELOADING=1\n')), 'the reload');
  await manager.until((all) => all.filter((each) => each.startsWith('READY=1')).length === 2, 'its end');
  home.configure('nonsense: true');
  daemon.signal('SIGHUP');
  await manager.until(
    (all) => all.includes('READY=1\nSTATUS=serving identities; some files could not be read again, see mayfly status'),
    'a reload that failed',
  );

  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(manager.receive().findLast((each) => each !== 'WATCHDOG=1')).toBe('STOPPING=1\nSTATUS=stopping');
  home.remove();
});
