import { describe, expect, test } from 'vitest';
import { MayflyError } from '../../../agent/kernel/errors.ts';
import type { ConnectionSlot } from '../../../agent/peer/admission.ts';
import { Callers } from '../../../agent/peer/callers.ts';
import { livingInstance } from '../../support/instance.ts';

const slot: ConnectionSlot = { call: () => () => undefined, release: () => undefined };

describe('callers', () => {
  test('are found by the id of their connection, which none had before', () => {
    const callers = new Callers('workload');
    const [one, other] = [livingInstance(), livingInstance()];
    const first = callers.add(one, slot);
    const second = callers.add(other, slot);
    callers.remove(first.connectionId);
    const third = callers.add(one, slot);
    expect(new Set([first, second, third].map((caller) => caller.connectionId)).size).toBe(3);
    expect(callers.of(second.connectionId)).toBe(second);
    expect(callers.of(second.connectionId).instance).toBe(other);
    expect(callers.of(third.connectionId).instance).toBe(one);
    expect(callers.size).toBe(2);
  });

  test.each(['unknown', '', '127.0.0.1:80', 'workload-2', 'toString', '__proto__'])('are not found by %j', (id) => {
    const callers = new Callers('workload');
    callers.add(livingInstance(), slot);
    expect(() => callers.of(id)).toThrowError(
      new MayflyError('CALLER_UNKNOWN', `no caller is known for connection ${id}`),
    );
  });

  test('are not found after their connection is closed, nor on another socket', () => {
    const [workload, admin] = [new Callers('workload'), new Callers('admin')];
    const { connectionId } = workload.add(livingInstance(), slot);
    admin.add(livingInstance(), slot);
    expect(() => admin.of(connectionId)).toThrowError(expect.objectContaining({ code: 'CALLER_UNKNOWN' }));
    workload.remove(connectionId);
    expect(() => workload.of(connectionId)).toThrowError(expect.objectContaining({ code: 'CALLER_UNKNOWN' }));
  });

  test.each([
    ['exited', 'has exited'],
    ['executed', 'has executed another program'],
    ['changed-ids', 'has changed its user or group'],
    ['changed-cgroup', 'has been moved to another cgroup'],
    ['changed-namespace', 'has entered another namespace'],
  ] as const)('are not found when their process is over: %s', (end, how) => {
    const callers = new Callers('workload');
    const instance = livingInstance();
    const { connectionId } = callers.add(instance, slot);
    instance.finish(end);
    expect(() => callers.of(connectionId)).toThrowError(
      new MayflyError('CALLER_UNKNOWN', `process ${instance.pid}, which opened connection ${connectionId}, ${how}`),
    );
  });
});
