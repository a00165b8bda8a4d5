import { describe, expect, test } from 'vitest';
import { MayflyError } from '../../../agent/kernel/errors.ts';
import { Admission, type AdmissionLimits, type Newcomer } from '../../../agent/peer/admission.ts';
import { Refusals } from '../../../agent/peer/refusals.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { keptLog } from '../config/log.ts';

const limits: AdmissionLimits = {
  maxConnections: 4,
  maxConnectionsPerUid: 2,
  maxCallsPerConnection: 2,
  maxAttestations: 2,
};

function admission(over: Partial<AdmissionLimits> = {}) {
  const [log, clock] = [keptLog(), new ManualClock()];
  const refusals = new Refusals(log, clock);
  return { admission: new Admission({ ...limits, ...over }, refusals), refusals, log, clock };
}

function ofUser(uid: number, pid = 7): Newcomer {
  return { uid, pid, tenant: `uid ${uid}` };
}

describe('connections', () => {
  test('of one user are limited, and others do not notice', () => {
    const { admission: gate, refusals, log } = admission();
    const slots = [gate.connection(ofUser(1000)), gate.connection(ofUser(1000))];
    expect(gate.connection(ofUser(1000))).toBeUndefined();
    expect(gate.connection(ofUser(1001, 8))).toBeDefined();
    expect(gate.connections).toBe(3);
    expect([...refusals.counts]).toEqual([['too-many-connections-of-user', 1]]);
    expect(log.lines).toEqual([
      {
        level: 'warn',
        event: 'peer.refused',
        message: 'uid 1000 has 2 connections; peer.max_connections_per_uid allows 2',
        fields: { reason: 'too-many-connections-of-user', uid: 1000, pid: 7 },
      },
    ]);
    slots[0]?.release();
    slots[0]?.release();
    expect(gate.connections).toBe(2);
    expect(gate.connection(ofUser(1000))).toBeDefined();
    expect(gate.connection(ofUser(1000))).toBeUndefined();
  });

  test('of one pod are limited, and those of another of the same user are not', () => {
    const { admission: gate, refusals, log } = admission();
    const [one, other] = ['pod 1', 'pod 2'].map((tenant) => ({ uid: 0, pid: 7, tenant }));
    for (const newcomer of [one, one, other]) expect(newcomer && gate.connection(newcomer)).toBeDefined();
    expect(one && gate.connection(one)).toBeUndefined();
    expect(other && gate.connection(other)).toBeDefined();
    expect([...refusals.counts]).toEqual([['too-many-connections-of-user', 1]]);
    expect(log.lines[0]?.message).toBe('pod 1 has 2 connections; peer.max_connections_per_uid allows 2');
  });

  test('are limited in all', () => {
    const { admission: gate, refusals } = admission();
    for (const uid of [1, 2, 3, 4]) expect(gate.connection(ofUser(uid))).toBeDefined();
    expect(gate.connection(ofUser(5))).toBeUndefined();
    expect([...refusals.counts]).toEqual([['too-many-connections', 1]]);
    expect(gate.connections).toBe(4);
  });

  test('that are there stay when the limit sinks below them', () => {
    const { admission: gate } = admission();
    const slots = [1, 2, 3].map((uid) => gate.connection(ofUser(uid)));
    gate.setLimits({ ...limits, maxConnections: 1 });
    expect(gate.connections).toBe(3);
    expect(gate.connection(ofUser(4))).toBeUndefined();
    for (const slot of slots) slot?.release();
    expect(gate.connection(ofUser(4))).toBeDefined();
  });
});

describe('calls', () => {
  test('of one connection are limited, and those of another of the same user are not', () => {
    const { admission: gate, refusals } = admission();
    const [one, other] = [gate.connection(ofUser(1000)), gate.connection(ofUser(1000))];
    const done = one?.call();
    one?.call();
    expect(() => one?.call()).toThrowError(
      new MayflyError('OVER_LIMIT', '2 calls are under way on one connection; peer.max_calls_per_connection allows 2'),
    );
    expect(() => one?.call()).toThrowError(expect.objectContaining({ code: 'OVER_LIMIT' }));
    other?.call();
    done?.();
    done?.();
    one?.call();
    expect(() => one?.call()).toThrowError(expect.objectContaining({ code: 'OVER_LIMIT' }));
    expect(refusals.counts.get('too-many-calls')).toBe(3);
  });
});

describe('attestations', () => {
  test('are shed above the limit, not queued', () => {
    const { admission: gate, refusals } = admission();
    const done = gate.attestation('uid 1');
    gate.attestation('uid 2');
    expect(() => gate.attestation('uid 3')).toThrowError(
      new MayflyError(
        'OVERLOADED',
        '2 attestations are under way, and peer.max_attestations allows no more; try again',
      ),
    );
    expect(gate.attestations).toBe(2);
    done();
    done();
    expect(gate.attestations).toBe(1);
    gate.attestation('uid 3');
    expect(refusals.counts.get('too-many-attestations')).toBe(1);
  });

  test('of one tenant leave as many places to others, and of two likewise', () => {
    const { admission: gate, refusals } = admission({ maxAttestations: 12 });
    const fill = (tenant: string) => {
      const done: (() => void)[] = [];
      expect(() => {
        for (;;) done.push(gate.attestation(tenant));
      }).toThrowError(expect.objectContaining({ code: 'OVERLOADED' }));
      return done;
    };
    const [first] = fill('uid 1000');
    expect(gate.attestations).toBe(6);
    expect(() => gate.attestation('uid 1000')).toThrowError(
      new MayflyError(
        'OVERLOADED',
        '6 attestations of uid 1000 are under way, and of peer.max_attestations, 12, nobody may have more than are left; try again',
      ),
    );
    fill('pod 1');
    expect(gate.attestations).toBe(9);
    fill('pod 2');
    expect(gate.attestations).toBe(11);
    expect(refusals.counts.get('too-many-attestations')).toBe(4);
    first?.();
    gate.attestation('container 1');
    gate.attestation('container 2');
    expect(gate.attestations).toBe(12);
  });
});

describe('refusals', () => {
  test('are all counted; of each reason one line is logged at once, and then one every ten seconds with what came since', () => {
    const { refusals, log, clock } = admission();
    for (let index = 0; index < 1000; index += 1) refusals.add('exited', `process ${index} has exited`, { pid: index });
    refusals.add('first-request', 'rubbish');
    expect(log.lines.map((line) => line.message)).toEqual(['process 0 has exited', 'rubbish']);
    expect(refusals.counts.get('exited')).toBe(1000);
    clock.advance(10_000);
    expect(log.lines.slice(2).map(({ message, fields }) => [message, fields])).toEqual([
      ['999 more for the same reason', { reason: 'exited', suppressed: 999 }],
    ]);
    refusals.add('exited', 'again');
    clock.advance(10_000);
    expect(log.lines.slice(3).map((line) => line.message)).toEqual(['1 more for the same reason']);
    // Quiet again after ten seconds without any: nothing is left to say, and no alarm.
    clock.advance(10_000);
    expect(clock.alarms).toBe(0);
    refusals.add('exited', 'much later');
    expect(log.lines.at(-1)?.message).toBe('much later');
  });

  test('set no alarm that outlives them', () => {
    const { refusals, clock } = admission();
    refusals.add('exited', 'gone');
    refusals.close();
    refusals.close();
    expect(clock.alarms).toBe(0);
  });
});
