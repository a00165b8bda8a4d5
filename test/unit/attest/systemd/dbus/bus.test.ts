import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Bus, busCall, connectBus } from '../../../../../agent/attest/systemd/dbus/bus.ts';
import type { Header } from '../../../../../agent/attest/systemd/dbus/message.ts';
import { connectStranger } from '../../../../support/bus-stranger.ts';

const DAEMON = '/usr/bin/dbus-daemon';
const { signal } = new AbortController();

describe.skipIf(!existsSync(DAEMON))(`a bus as ${DAEMON} has it`, () => {
  let directory: string;
  let daemon: ChildProcess;
  let bus: Bus;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'mayfly-dbus-'));
    const path = join(directory, 'bus');
    writeFileSync(
      join(directory, 'bus.conf'),
      `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "busconfig.dtd">
       <busconfig><listen>unix:path=${path}</listen><auth>EXTERNAL</auth>
       <policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/></policy></busconfig>`,
    );
    daemon = spawn(DAEMON, [`--config-file=${join(directory, 'bus.conf')}`, '--nofork', '--print-address=1'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (daemon.stdout !== null) await once(daemon.stdout, 'data');
    bus = await connectBus(path, signal);
  });

  afterAll(async () => {
    bus?.close();
    const exited = once(daemon, 'exit');
    daemon.kill();
    await exited;
    rmSync(directory, { recursive: true });
  });

  it('takes what is sent, and is understood', async () => {
    const [uid] = await bus.call(busCall('GetConnectionUnixUser', 'org.freedesktop.DBus'), signal);
    expect(uid).toBe(process.geteuid?.());
    const [credentials] = await bus.call(busCall('GetConnectionCredentials', 'org.freedesktop.DBus'), signal);
    expect(credentials).toBeInstanceOf(Map);
  });

  it('answers with its errors by name', async () => {
    await expect(bus.call(busCall('GetNameOwner', 'org.example.Nobody'), signal)).rejects.toMatchObject({
      error: 'org.freedesktop.DBus.Error.NameHasNoOwner',
    });
  });

  it('tells what was asked for by a match', async () => {
    const told = Promise.withResolvers<Header>();
    bus.onSignal((message) => {
      if (message.member === 'NameOwnerChanged') told.resolve(message);
    });
    await bus.call(busCall('AddMatch', "type='signal',member='NameOwnerChanged'"), signal);
    const other = await connectBus(join(directory, 'bus'), signal);
    expect(await told.promise).toMatchObject({ kind: 'signal', sender: 'org.freedesktop.DBus' });
    other.close();
    await other.closed;
  });

  it('says of each signal whose it is, which a stranger cannot choose', async () => {
    const other = await connectBus(join(directory, 'bus'), signal);
    const told: Header[] = [];
    other.onSignal((header) => told.push(header));
    const stranger = await connectStranger(join(directory, 'bus'));
    stranger.signal(await newest(bus, stranger.name), { claims: 'org.freedesktop.DBus' });
    await vi.waitFor(() => expect(told.filter(({ member }) => member === 'PropertiesChanged')).toHaveLength(1));
    expect(told.at(-1)).toMatchObject({ sender: stranger.name });
    other.close();
    await stranger.close();
  });

  it('goes on while a stranger sends signals that are larger than anything that is asked for', async () => {
    const other = await connectBus(join(directory, 'bus'), signal);
    const told: Header[] = [];
    other.onSignal((header) => told.push(header));
    const stranger = await connectStranger(join(directory, 'bus'));
    const name = await newest(bus, stranger.name);
    for (const megabytes of [5, 1, 0, 12]) stranger.signal(name, { size: megabytes * 1024 ** 2 });
    stranger.signal(name, { size: 1 });
    await vi.waitFor(() => expect(told.filter(({ sender }) => sender === stranger.name)).toHaveLength(2));
    const [id] = await other.call(busCall('GetNameOwner', 'org.freedesktop.DBus'), signal);
    expect(id).toBe('org.freedesktop.DBus');
    other.close();
    await stranger.close();
  });

  it('ends for who waits when it is stopped', async () => {
    const other = await connectBus(join(directory, 'bus'), signal);
    other.close();
    await other.closed;
    await expect(other.call(busCall('GetId'), signal)).rejects.toThrow('is closed');
  });
});

/** The name of whoever came to the bus last, but for one. */
async function newest(bus: Bus, but: string): Promise<string> {
  const [names] = await bus.call(busCall('ListNames'), signal);
  const all = Array.isArray(names) ? names.filter((name) => typeof name === 'string') : [];
  const unique = all.filter((name) => name.startsWith(':') && name !== but);
  return unique.toSorted((a, b) => numberOf(a) - numberOf(b)).at(-1) ?? '';
}

/** Names are given in turn: `:1.7` before `:1.8`. */
function numberOf(name: string): number {
  return Number(name.split('.').at(-1));
}

it('says that nobody listens', async () => {
  await expect(connectBus(join(tmpdir(), 'no-such-bus'), signal)).rejects.toMatchObject({ code: 'ENOENT' });
});
