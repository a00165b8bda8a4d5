import { describe, expect, test } from 'vitest';
import type { Followed } from '../../../agent/cli/follow.ts';
import { follow } from '../../../agent/cli/follow.ts';
import type { ErrorCode } from '../../../agent/kernel/errors.ts';
import { MayflyError } from '../../../agent/kernel/errors.ts';
import { ManualClock } from '../../support/manual-clock.ts';

type Attempt = readonly (number | ErrorCode)[];

/** Follows streams that say numbers and end with an error, or cleanly. */
function following(attempts: readonly Attempt[], patient: boolean, random = 0.5) {
  const clock = new ManualClock();
  const stop = new AbortController();
  const events: Followed<number>[] = [];
  let opened = 0;
  async function* open(): AsyncGenerator<number> {
    const attempt = attempts[opened] ?? [];
    opened += 1;
    for (const said of attempt) {
      if (typeof said === 'string') throw new MayflyError(said, said);
      yield said;
    }
  }
  const options = { clock, random: () => random, signal: stop.signal, patient };
  const done = (async () => {
    for await (const event of follow(open, options)) events.push(event);
  })();
  return {
    clock,
    done,
    events,
    stop,
    get opened() {
      return opened;
    },
  };
}

describe('follow', () => {
  test('asks again after half a second, twice that, and at most half a minute; from the start after an update', async () => {
    const lost = ['AGENT_UNREACHABLE'] as const;
    const { events, clock, done, stop } = following(
      [[1, 'AGENT_UNREACHABLE'], lost, lost, lost, lost, lost, lost, lost, lost, [2, 'SHUTTING_DOWN'], lost],
      false,
    );
    await clock.elapse(200_000);
    stop.abort();
    await done;
    const told = events.map((event) => (event.kind === 'update' ? event.update : event.retryIn));
    expect(told.slice(0, 13)).toEqual([1, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000, 2, 500, 1000]);
    expect(clock.alarms).toBe(0);
  });

  test('spreads retries by a quarter to both sides', async () => {
    for (const [random, expected] of [
      [0, 375],
      [1, 625],
    ] as const) {
      const { events, clock, done, stop } = following([['AGENT_UNREACHABLE']], true, random);
      await clock.elapse(0);
      stop.abort();
      await done;
      expect(events).toMatchObject([{ kind: 'lost', retryIn: expected }]);
    }
  });

  test('tells a withdrawn identity from a lost agent, and takes a clean end for a lost one', async () => {
    const { events, clock, done, stop } = following([[1, 'NO_IDENTITY'], [2]], false);
    await clock.elapse(600);
    stop.abort();
    await done;
    expect(events.map(({ kind }) => kind)).toEqual(['update', 'withdrawn', 'update', 'lost']);
  });

  test('throws what asking again would not change, whenever it comes', async () => {
    for (const code of ['INVALID_REQUEST', 'NOT_OFFERED'] as const) {
      const { done, clock } = following([[1, code]], true);
      await expect(done).rejects.toMatchObject({ code });
      expect(clock.alarms).toBe(0);
    }
  });

  test('unless patient, throws when the first attempt comes to nothing', async () => {
    for (const code of ['AGENT_UNREACHABLE', 'NO_IDENTITY'] as const) {
      const impatient = following([[code], [1]], false);
      await expect(impatient.done).rejects.toMatchObject({ code });
      expect(impatient.opened).toBe(1);
    }
    const patient = following([['NO_IDENTITY'], [1]], true);
    await patient.clock.elapse(500);
    patient.stop.abort();
    await patient.done;
    expect(patient.events.map(({ kind }) => kind)).toEqual(['withdrawn', 'update', 'lost']);
  });

  test('ends at once when it is told to, also between two attempts', async () => {
    const { done, clock, stop, events } = following([['AGENT_UNREACHABLE'], [1]], true);
    await clock.elapse(100);
    expect(clock.alarms).toBe(1);
    stop.abort();
    await done;
    expect(clock.alarms).toBe(0);
    expect(events).toHaveLength(1);
  });
});
