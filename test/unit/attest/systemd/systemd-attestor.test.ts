import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { NOTHING } from '../../../../agent/attest/attestor.ts';
import type { ContextEnd } from '../../../../agent/attest/context.ts';
import { Contexts } from '../../../../agent/attest/contexts.ts';
import { AttestationRunner } from '../../../../agent/attest/runner.ts';
import { SystemdAttestor } from '../../../../agent/attest/systemd/systemd-attestor.ts';
import { SystemdManager } from '../../../../agent/attest/systemd/systemd-manager.ts';
import { SystemClock } from '../../../../agent/kernel/clock.ts';
import { livingInstance } from '../../../support/instance.ts';
import { failed, SystemdOnBus } from '../../../support/message-bus.ts';

const clock = new SystemClock();
const FIRST = '0a'.repeat(16);
const SECOND = '0b'.repeat(16);
const PAYMENTS = {
  id: 'payments.service',
  fragmentPath: '/etc/systemd/system/payments.service',
  invocation: FIRST,
  state: 'active',
};
const IN_PAYMENTS = { unit: { id: 'payments.service', invocation: FIRST } };

let directory: string;
let bus: SystemdOnBus;
let contexts: Contexts;
let attestor: SystemdAttestor;
let cgroups: Map<number, string>;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'mayfly-bus-'));
  bus = new SystemdOnBus(join(directory, 'bus'));
  await bus.start();
  contexts = new Contexts();
  cgroups = new Map();
  attestor = new SystemdAttestor({ socket: bus.path, contexts, clock, cgroupOf: (pid) => cgroups.get(pid) });
});

afterEach(async () => {
  await attestor.close();
  await bus.stop();
  rmSync(directory, { recursive: true });
});

/** A process in a unit that systemd knows. */
function processIn(unit = PAYMENTS, cgroup = `0::/system.slice/${unit.id}\n`) {
  const instance = livingInstance();
  bus.units.set(unit.id, { ...unit });
  bus.unitOf.set(instance.pid, unit.id);
  cgroups.set(instance.pid, cgroup);
  return instance;
}

function attest(instance = processIn(), signal = new AbortController().signal) {
  return attestor.attest(instance, signal);
}

describe('what the systemd attestor says', () => {
  it('names the unit, its file and its run', async () => {
    expect(await attest()).toEqual({
      selectors: ['systemd:id:payments.service', 'systemd:fragment_path:/etc/systemd/system/payments.service'],
      context: IN_PAYMENTS,
    });
    expect(bus.calls).toEqual(['Hello', 'GetUnitByPID', 'GetAll']);
  });

  it('has no run of what is never started, and no path of what has no file', async () => {
    const slice = { id: 'machine.slice', fragmentPath: '', invocation: '', state: 'active' };
    expect(await attest(processIn(slice, '0::/machine.slice/thing\n'))).toEqual({
      selectors: ['systemd:id:machine.slice'],
      context: {},
    });
  });

  it('never takes the unit of a user for one of the system, and says whose it is', async () => {
    const manager = { ...PAYMENTS, id: 'user@1000.service' };
    const cgroup = '0::/user.slice/user-1000.slice/user@1000.service/app.slice/sshd.service\n';
    expect((await attest(processIn(manager, cgroup))).selectors).toEqual([
      'systemd:id:user@1000.service',
      'systemd:fragment_path:/etc/systemd/system/payments.service',
      'systemd:user_unit:1000:sshd.service',
    ]);
  });

  it('asks nobody about a process that is in no unit, so that no bus is needed for it', async () => {
    const instance = livingInstance();
    cgroups.set(instance.pid, '0::/docker/0a1b\n');
    await bus.stop();
    expect(await attest(instance)).toBe(NOTHING);
    expect(bus.calls).toEqual([]);
    await bus.start();
  });

  it('says nothing of a process that systemd knows in no unit, nor of what is left of a run that is over', async () => {
    const unknown = processIn();
    bus.unitOf.clear();
    expect(await attest(unknown)).toBe(NOTHING);
    expect(await attest(processIn({ ...PAYMENTS, state: 'inactive' }))).toBe(NOTHING);
    expect(await attest(processIn({ ...PAYMENTS, state: 'failed' }))).toBe(NOTHING);
    expect((await attest(processIn({ ...PAYMENTS, state: 'deactivating' }))).context).toEqual(IN_PAYMENTS);
  });

  it('refuses an answer that is about another process: a number of another pid namespace', async () => {
    await expect(attest(processIn(PAYMENTS, '0::/system.slice/other.service\n'))).rejects.toThrow(
      'run the agent in the pid namespace of the host',
    );
  });
});

describe('a systemd that cannot be asked', () => {
  it('leaves the caller unknown while the bus is away, and knows it when it is back', async () => {
    const instance = processIn();
    await attest(instance);
    await bus.stop();
    await vi.waitFor(() => expect(bus.connections).toBe(0));
    await expect(attest(instance)).rejects.toThrow(/ENOENT|ECONNREFUSED|closed/);
    expect(attestor.shortcomings().join()).toContain('systemd could not be asked');
    await bus.start();
    expect((await attest(instance)).context).toEqual(IN_PAYMENTS);
  });

  it('tells of a machine without systemd in status', async () => {
    await bus.stop();
    rmSync(bus.path, { force: true });
    expect(attestor.shortcomings()).toEqual([
      `There is no message bus at ${bus.path}: systemd does not run this machine, or the agent does not see its bus; systemd:… is said of no process, and who is in a unit is refused`,
    ]);
    await bus.start();
    expect(attestor.shortcomings()).toEqual([]);
  });

  it('lets go of who waits when the attestor gives up, and answers the next', async () => {
    const giveUp = new AbortController();
    bus.answer = ({ member }) => (member === 'GetUnitByPID' ? 'never' : undefined);
    const waiting = attest(processIn(), giveUp.signal);
    await vi.waitFor(() => expect(bus.calls).toContain('GetUnitByPID'));
    giveUp.abort(new Error('no answer within 5000 ms'));
    await expect(waiting).rejects.toThrow('no answer within 5000 ms');
    bus.answer = () => undefined;
    expect((await attest()).context).toEqual(IN_PAYMENTS);
    expect(bus.calls.filter((call) => call === 'Hello')).toHaveLength(1);
  });

  it.each([
    ['bytes that are no message', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['a message that claims 2 GiB', Buffer.from('6c020001ffffff7f0100000000000000', 'hex')],
  ])('breaks the connection over %s, and makes another', async (_, bytes) => {
    bus.answer = ({ member }) => (member === 'GetUnitByPID' ? bytes : undefined);
    await expect(attest()).rejects.toThrow('does not speak D-Bus');
    bus.answer = () => undefined;
    expect((await attest()).context).toEqual(IN_PAYMENTS);
  });

  it('takes no answer that leaves out what was asked', async () => {
    bus.answer = (call) =>
      call.member === 'GetAll' ? failed(call, 'org.freedesktop.DBus.Error.AccessDenied', 'no') : undefined;
    await expect(attest()).rejects.toThrow('AccessDenied');
    bus.answer = () => undefined;
    await expect(attest(processIn({ ...PAYMENTS, invocation: '0a' }))).rejects.toThrow('says no invocation');
  });

  it('is told why the bus does not take the agent', async () => {
    bus.greeting = 'REJECTED EXTERNAL\r\n';
    await expect(attest()).rejects.toThrow('the message bus refuses the agent: "REJECTED EXTERNAL"');
  });

  it('has the caller refused as of an attestor that failed', async () => {
    const runner = new AttestationRunner([attestor], { clock });
    bus.answer = (call) =>
      call.member === 'GetUnitByPID' ? failed(call, 'org.freedesktop.DBus.Error.NoReply', '') : undefined;
    await expect(runner.attest(processIn())).rejects.toMatchObject({ code: 'ATTESTATION_FAILED' });
  });
});

it('is followed again where the answer to the last attempt was lost: systemd takes nobody twice', async () => {
  const manager = new SystemdManager(bus.path, clock);
  const giveUp = new AbortController();
  bus.mute.add('Subscribe');
  const first = manager.follow(() => undefined, giveUp.signal);
  await vi.waitFor(() => expect(bus.followed).toBe(true));
  giveUp.abort(new Error('no answer within 5000 ms'));
  await expect(first).rejects.toThrow('no answer within 5000 ms');
  bus.mute.clear();
  const changed: string[] = [];
  const following = await manager.follow((unit) => changed.push(unit), new AbortController().signal);
  bus.tell('payments.service');
  await vi.waitFor(() => expect(changed).toEqual(['payments.service']));
  following.stop();
  await vi.waitFor(() => expect(bus.followed).toBe(false));
  await manager.close();
});

describe('the end of a unit', () => {
  const ends: ContextEnd[] = [];

  beforeEach(() => void ends.splice(0));

  async function entered(): Promise<() => void> {
    const { context } = await attest();
    const leave = contexts.enter(context, (end) => ends.push(end));
    await vi.waitFor(() => expect(bus.followed).toBe(true));
    return leave;
  }

  it.each([
    ['stops', { state: 'inactive' }],
    ['fails', { state: 'failed' }],
    ['is started again', { invocation: SECOND }],
  ])('ends what is in it when it %s', async (_, change) => {
    await entered();
    bus.change('payments.service', change);
    await vi.waitFor(() => expect(ends).toEqual(['unit-ended']));
  });

  it('is not that it is reloaded or about to stop, nor that another one stops', async () => {
    await entered();
    processIn({ ...PAYMENTS, id: 'other.service' });
    const asked = () => bus.calls.filter((call) => call === 'GetAll').length;
    const before = asked();
    bus.change('other.service', { state: 'inactive' });
    bus.change('payments.service', { state: 'reloading' });
    await vi.waitFor(() => expect(asked()).toBe(before + 1));
    bus.change('payments.service', { state: 'deactivating' });
    await vi.waitFor(() => expect(asked()).toBe(before + 2));
    expect(ends).toEqual([]);
  });

  it('is believed of systemd alone: a signal is no more than a reason to ask', async () => {
    await entered();
    const before = bus.calls.length;
    bus.tell('payments.service');
    await vi.waitFor(() => expect(bus.calls.length).toBeGreaterThan(before));
    expect(ends).toEqual([]);
  });

  it('between what was found and the lease that hangs on it is noticed, while others are watched', async () => {
    await entered();
    const other = { ...PAYMENTS, id: 'other.service', invocation: SECOND };
    const { context } = await attest(processIn(other));
    bus.change('other.service', { state: 'inactive' });
    // An answer that comes behind what was told.
    await attest();
    const late: ContextEnd[] = [];
    contexts.enter(context, (end) => late.push(end));
    await vi.waitFor(() => expect(late).toEqual(['unit-ended']));
    expect(ends).toEqual([]);
  });

  it('is not so much as asked about because of a stranger’s signal', async () => {
    await entered();
    const before = bus.calls.length;
    for (let count = 0; count < 100; count += 1) bus.tell('payments.service', ':1.66');
    bus.change('payments.service', { state: 'failed' });
    await vi.waitFor(() => expect(ends).toEqual(['unit-ended']));
    expect(bus.calls.slice(before).filter((call) => call === 'GetAll')).toHaveLength(1);
  });

  it('is told by the systemd that has come in the place of the one before', async () => {
    await entered();
    const before = bus.calls.length;
    bus.tellOwner();
    await vi.waitFor(() => expect(attestor.shortcomings().join()).toContain('systemd came to it anew'));
    expect(ends).toEqual([]);
    await vi.waitFor(() => expect(attestor.shortcomings()).toEqual([]), { timeout: 5000 });
    expect(bus.calls.slice(before)).toContain('GetNameOwner');
    bus.change('payments.service', { state: 'inactive' });
    await vi.waitFor(() => expect(ends).toEqual(['unit-ended']));
  });

  it('is found out after a loss of the connection, which by itself ends nothing', async () => {
    await entered();
    await bus.stop();
    await vi.waitFor(() => expect(attestor.shortcomings().join()).toContain('goes unnoticed'));
    expect(ends).toEqual([]);
    bus.change('payments.service', { invocation: SECOND });
    await bus.start();
    await vi.waitFor(() => expect(ends).toEqual(['unit-ended']), { timeout: 5000 });
    expect(attestor.shortcomings()).toEqual([]);
  });

  it('is watched for while somebody is in a unit, and no longer', async () => {
    const leave = await entered();
    leave();
    await vi.waitFor(() => expect(bus.followed).toBe(false));
    expect(bus.calls.slice(-2).toSorted()).toEqual(['RemoveMatch', 'Unsubscribe']);
    await entered();
    bus.change('payments.service', { state: 'inactive' });
    await vi.waitFor(() => expect(ends).toEqual(['unit-ended']));
  });

  it('of the last run does not end those of the next', async () => {
    await entered();
    bus.change('payments.service', { invocation: SECOND });
    const { context } = await attest(processIn({ ...PAYMENTS, invocation: SECOND }));
    const second: ContextEnd[] = [];
    contexts.enter(context, (end) => second.push(end));
    bus.tell('payments.service');
    await vi.waitFor(() => expect(ends).toEqual(['unit-ended']));
    expect(second).toEqual([]);
  });
});
