import { describe, expect, it } from 'vitest';
import type { Attestor, Found } from '../../../agent/attest/attestor.ts';
import { NOTHING } from '../../../agent/attest/attestor.ts';
import type { Context } from '../../../agent/attest/context.ts';
import { NO_CONTEXT } from '../../../agent/attest/context.ts';
import { AttestationRunner } from '../../../agent/attest/runner.ts';
import type { MayflyError } from '../../../agent/kernel/errors.ts';
import { parseSelector } from '../../../agent/kernel/selector.ts';
import type { ProcessInstance } from '../../../agent/peer/instance.ts';
import { livingInstance } from '../../support/instance.ts';
import { ManualClock } from '../../support/manual-clock.ts';

type Answer = (instance: ProcessInstance, signal: AbortSignal) => Promise<Found>;

function says(...texts: string[]): Answer {
  return () => Promise.resolve({ selectors: texts.map(parseSelector), context: NO_CONTEXT });
}

function livesIn(context: Context) {
  return () => Promise.resolve({ selectors: [], context });
}

/** An attestor that answers as told, and counts. */
function attestor(name: string, answer: Answer) {
  const made = {
    name,
    runs: 0,
    closed: 0,
    answer,
    attest(instance: ProcessInstance, signal: AbortSignal): Promise<Found> {
      made.runs += 1;
      return made.answer(instance, signal);
    },
    shortcomings: () => [`${name} sees little`],
    close(): Promise<void> {
      made.closed += 1;
      return Promise.resolve();
    },
  } satisfies Attestor & Record<string, unknown>;
  return made;
}

describe('attestation', () => {
  it('joins what all attestors say, none twice', async () => {
    const runner = new AttestationRunner(
      [
        attestor('unix', says('unix:uid:1', 'unix:gid:1')),
        attestor('docker', says()),
        attestor('x', says('unix:uid:1')),
      ],
      { clock: new ManualClock() },
    );
    const instance = livingInstance();
    const attested = await runner.attest(instance);
    expect(attested.instance).toBe(instance);
    expect([...attested.selectors]).toEqual(['unix:uid:1', 'unix:gid:1']);
  });

  it('joins where a process lives, and who knows more of a container has the last word', async () => {
    const pod = { uid: 'u1', namespace: 'shop', name: 'pay' };
    const unit = { id: 'kubelet.service', invocation: 'a'.repeat(32) };
    const container = { engine: 'docker', id: 'c'.repeat(64) };
    const knowing = attestor('docker', livesIn({ container: { ...container, started: '2027-01-01' } }));
    const runner = new AttestationRunner(
      [
        attestor('unix', livesIn({})),
        knowing,
        attestor('k8s', livesIn({ container, pod })),
        attestor('s', livesIn({ unit })),
      ],
      { clock: new ManualClock() },
    );
    const { context } = await runner.attest(livingInstance());
    expect(context).toEqual({ container: { ...container, started: '2027-01-01' }, pod, unit });
  });

  it('fails where two say different things of where a process lives', async () => {
    const [a, b] = ['a', 'b'].map((digit) => livesIn({ container: { engine: 'docker', id: digit.repeat(64) } }));
    const runner = new AttestationRunner([attestor('docker', a ?? says()), attestor('k8s', b ?? says())], {
      clock: new ManualClock(),
    });
    const instance = livingInstance();
    await expect(runner.attest(instance)).rejects.toMatchObject({
      code: 'ATTESTATION_FAILED',
      cause: { message: 'two attestors say different things of the container of one process' },
    });
    expect(runner.current(instance)).toBeUndefined();
  });

  it('gives another answer when a process is found elsewhere, and the same while it is not', async () => {
    const clock = new ManualClock();
    let invocation = 'a'.repeat(32);
    const systemd = attestor('systemd', () => livesIn({ unit: { id: 'pay.service', invocation } })());
    const runner = new AttestationRunner([systemd], { clock });
    const instance = livingInstance();
    const first = await runner.attest(instance);
    await clock.elapse(1001);
    expect(await runner.attest(instance)).toBe(first);
    await clock.elapse(1001);
    invocation = 'b'.repeat(32);
    expect((await runner.attest(instance)).context.unit?.invocation).toBe(invocation);
    expect(systemd.runs).toBe(3);
  });

  it('fails for a caller of whom an attestor cannot tell, and not for another', async () => {
    const [ours, other] = [livingInstance(), livingInstance()];
    const docker = attestor('docker', async (instance) => {
      if (instance === ours) throw new Error('no daemon at /run/docker.sock');
      return NOTHING;
    });
    const runner = new AttestationRunner([attestor('unix', says('unix:uid:1')), docker], { clock: new ManualClock() });
    const error = await runner.attest(ours).catch((error: unknown) => error as MayflyError);
    expect(error).toMatchObject({
      code: 'ATTESTATION_FAILED',
      message: 'workload attestation failed',
      cause: { message: `attestor docker about process ${ours.pid}: no daemon at /run/docker.sock` },
    });
    expect(runner.current(ours)).toBeUndefined();
    expect((await runner.attest(other)).selectors.size).toBe(1);
    expect(runner.status()).toMatchObject([
      { name: 'unix', runs: 2, failures: 0, lastFailure: undefined, shortcomings: ['unix sees little'] },
      { name: 'docker', runs: 2, failures: 1, lastFailure: 'no daemon at /run/docker.sock' },
    ]);
  });

  it('that was begun ahead is joined by the call, and its failure is the call’s alone', async () => {
    const unix = attestor('unix', says('unix:uid:1'));
    const runner = new AttestationRunner([unix], { clock: new ManualClock() });
    const instance = livingInstance();
    runner.anticipate(instance);
    expect(runner.running).toBe(1);
    expect((await runner.attest(instance)).selectors.size).toBe(1);
    expect(unix.runs).toBe(1);

    unix.answer = () => Promise.reject(new Error('no telling'));
    const other = livingInstance();
    runner.anticipate(other);
    await expect(runner.attest(other)).rejects.toMatchObject({ code: 'ATTESTATION_FAILED' });
    expect(unix.runs).toBe(2);
  });

  it('is begun ahead for sixteen at a time, and no more', async () => {
    const answer = Promise.withResolvers<Found>();
    const unix = attestor('unix', () => answer.promise);
    const runner = new AttestationRunner([unix], { clock: new ManualClock() });
    const instances = Array.from({ length: 40 }, () => livingInstance());
    for (const instance of instances) runner.anticipate(instance);
    expect(runner.running).toBe(16);
    answer.resolve(NOTHING);
    await runner.attest(instances[39] ?? livingInstance());
    expect(unix.runs).toBe(17);
  });

  it('gives each attestor its deadline, and a late answer is thrown away', async () => {
    const clock = new ManualClock();
    const late = Promise.withResolvers<Found>();
    let aborted = false;
    const slow = attestor('slow', (_, signal) => {
      signal.addEventListener('abort', () => (aborted = true));
      return late.promise;
    });
    const runner = new AttestationRunner([attestor('unix', says('unix:uid:1')), slow], { clock, deadline: 300 });
    const instance = livingInstance();
    const attesting = expect(runner.attest(instance)).rejects.toMatchObject({
      code: 'ATTESTATION_FAILED',
      cause: { message: expect.stringContaining('slow about process') as string },
    });
    await clock.elapse(299);
    expect(aborted).toBe(false);
    await clock.elapse(1);
    await attesting;
    expect(aborted).toBe(true);
    late.resolve({ selectors: [parseSelector('slow:late:1')], context: NO_CONTEXT });
    expect(runner.current(instance)).toBeUndefined();
    expect(runner.status()[1]).toMatchObject({ lastMs: 300, lastFailure: 'no answer within 300 ms' });
    expect(clock.alarms).toBe(0);
  });

  it.each([
    ['exited', 'has exited'],
    ['executed', 'has executed another program'],
    ['changed-ids', 'has changed its user or group'],
    ['changed-cgroup', 'has been moved to another cgroup'],
    ['changed-namespace', 'has entered another namespace'],
  ] as const)(
    'throws away what was found of a process that is over (%s), even when an attestor failed over it',
    async (end, text) => {
      const instance = livingInstance();
      const found = attestor('unix', async () => {
        instance.finish(end);
        return { selectors: [parseSelector('unix:uid:0')], context: NO_CONTEXT };
      });
      const fails = attestor('proc', () => Promise.reject(new Error('ENOENT')));
      const runner = new AttestationRunner([found, fails], { clock: new ManualClock() });
      await expect(runner.attest(instance)).rejects.toMatchObject({
        code: 'CALLER_UNKNOWN',
        message: `process ${instance.pid} ${text} since it connected`,
      });
      expect(runner.current(instance)).toBeUndefined();
    },
  );

  it('asks nobody about a process that is over', async () => {
    const unix = attestor('unix', says('unix:uid:1'));
    const runner = new AttestationRunner([unix], { clock: new ManualClock() });
    const instance = livingInstance();
    instance.finish('exited');
    await expect(runner.attest(instance)).rejects.toMatchObject({ code: 'CALLER_UNKNOWN' });
    expect(unix.runs).toBe(0);
  });
});

describe('what was found', () => {
  it('is shared by calls that come together, and believed for a second', async () => {
    const clock = new ManualClock();
    const unix = attestor('unix', says('unix:uid:1'));
    const runner = new AttestationRunner([unix], { clock });
    const instance = livingInstance();
    expect(runner.current(instance)).toBeUndefined();
    const [first, second] = await Promise.all([runner.attest(instance), runner.attest(instance)]);
    expect(second).toBe(first);
    clock.advance(999);
    expect(runner.current(instance)).toBe(first);
    expect(await runner.attest(instance)).toBe(first);
    expect(unix.runs).toBe(1);
    clock.advance(1);
    expect(runner.current(instance)).toBeUndefined();
    expect(await runner.attest(instance)).toBe(first);
    expect(unix.runs).toBe(2);
  });

  it('is another object when something has changed', async () => {
    const clock = new ManualClock();
    const unix = attestor('unix', says('unix:gid:1', 'unix:gid:2'));
    const runner = new AttestationRunner([unix], { clock });
    const instance = livingInstance();
    const before = await runner.attest(instance);
    unix.answer = says('unix:gid:1');
    clock.advance(1000);
    const after = await runner.attest(instance);
    expect([...after.selectors]).toEqual(['unix:gid:1']);
    expect([...before.selectors]).toEqual(['unix:gid:1', 'unix:gid:2']);
  });

  it('is not believed of a process that has ended within that second', async () => {
    const runner = new AttestationRunner([attestor('unix', says('unix:uid:1'))], { clock: new ManualClock() });
    const instance = livingInstance();
    await runner.attest(instance);
    instance.finish('executed');
    expect(runner.current(instance)).toBeUndefined();
    await expect(runner.attest(instance)).rejects.toMatchObject({ code: 'CALLER_UNKNOWN' });
  });

  it('is asked for again after a failure', async () => {
    const unix = attestor('unix', () => Promise.reject(new Error('down')));
    const runner = new AttestationRunner([unix], { clock: new ManualClock() });
    const instance = livingInstance();
    await expect(runner.attest(instance)).rejects.toMatchObject({ code: 'ATTESTATION_FAILED' });
    unix.answer = says('unix:uid:1');
    expect((await runner.attest(instance)).selectors.size).toBe(1);
  });
});

describe('close', () => {
  it('refuses what is under way and what comes, and closes the attestors', async () => {
    const clock = new ManualClock();
    const unix = attestor('unix', () => new Promise(() => undefined));
    const runner = new AttestationRunner([unix], { clock });
    const refused = expect(runner.attest(livingInstance())).rejects.toMatchObject({ code: 'SHUTTING_DOWN' });
    await runner.close();
    await refused;
    await expect(runner.attest(livingInstance())).rejects.toMatchObject({ code: 'SHUTTING_DOWN' });
    expect([unix.runs, unix.closed, runner.running, clock.alarms]).toEqual([1, 1, 0, 0]);
  });
});
