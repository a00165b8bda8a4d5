import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Supervisor } from '../../../agent/cli/supervisor.ts';
import { Datagrams } from '../../support/datagrams.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLog } from '../../support/memory-log.ts';

let directory: string;
let clock: ManualClock;
let log: MemoryLog;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'mayfly-notify-'));
  clock = new ManualClock();
  log = new MemoryLog();
});

afterEach(() => rmSync(directory, { recursive: true }));

function supervisor(env: Readonly<Record<string, string>>): Supervisor {
  return new Supervisor({ env, clock, log });
}

describe('the service manager', () => {
  it.each(['a path', 'an abstract name'])(
    'hears at %s that the agent serves, reads its files again and stops',
    (where) => {
      const path = where === 'a path' ? join(directory, 'notify') : `@mayfly-${process.pid}-${Math.random()}`;
      using datagrams = new Datagrams(path);
      const told = supervisor({ NOTIFY_SOCKET: path });
      told.ready('serving identities');
      told.reloading();
      told.stopping();
      const [ready, reloading, stopping, ...more] = datagrams.receive();
      expect([ready, stopping, more]).toEqual([
        'READY=1\nSTATUS=serving identities',
        'STOPPING=1\nSTATUS=stopping',
        [],
      ]);
      expect(reloading).toMatch(/^RELOADING=1\nMONOTONIC_USEC=\d+$/);
      expect(clock.alarms).toBe(0);
    },
  );

  it('has its watchdog told twice in its time, from readiness on', () => {
    using datagrams = new Datagrams(join(directory, 'notify'));
    const told = supervisor({
      NOTIFY_SOCKET: join(directory, 'notify'),
      WATCHDOG_USEC: '30000000',
      WATCHDOG_PID: String(process.pid),
    });
    const beats = () => datagrams.receive().filter((each) => each === 'WATCHDOG=1').length;
    clock.advance(60_000);
    expect(beats()).toBe(0);
    told.ready('');
    expect(beats()).toBe(1);
    clock.advance(30_000);
    expect(beats()).toBe(3);
    // Ready again after a reload: one watchdog, one beat.
    told.ready('');
    clock.advance(15_000);
    expect(beats()).toBe(4);
    told.close();
    clock.advance(60_000);
    expect(beats()).toBe(4);
    expect(clock.alarms).toBe(0);
  });

  it.each([
    ['of another process', { WATCHDOG_USEC: '1000000', WATCHDOG_PID: '1' }],
    ['that is none', { WATCHDOG_USEC: 'soon' }],
    ['of no time', { WATCHDOG_USEC: '0' }],
  ])('is told nothing for a watchdog %s', (_, env) => {
    using datagrams = new Datagrams(join(directory, 'notify'));
    supervisor({ NOTIFY_SOCKET: join(directory, 'notify'), ...env }).ready('');
    expect(datagrams.receive()).toEqual(['READY=1\nSTATUS=']);
    expect(clock.alarms).toBe(0);
  });

  it('that does not listen is told of once in the log, and does no harm', () => {
    const told = supervisor({ NOTIFY_SOCKET: join(directory, 'nobody') });
    told.ready('');
    told.stopping();
    expect(log.lines).toMatchObject([{ level: 'warn', event: 'supervisor.unreachable' }]);
    expect(log.lines[0]?.message).toContain('ENOENT');
  });

  it.each([{}, { NOTIFY_SOCKET: '' }, { NOTIFY_SOCKET: 'vsock:2:1234' }, { NOTIFY_SOCKET: 'relative' }])(
    'is nobody with %o',
    (env) => {
      supervisor(env).ready('');
      expect(log.lines).toEqual([]);
    },
  );

  it('is not told at a path that no socket can have', () => {
    supervisor({ NOTIFY_SOCKET: `/${'x'.repeat(200)}` }).ready('');
    expect(log.lines[0]?.message).toContain('ENAMETOOLONG');
  });
});
