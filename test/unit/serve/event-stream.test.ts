import { describe, expect, it } from 'vitest';
import { streamEvents } from '../../../agent/serve/event-stream.ts';

function source(recent: readonly string[] = []) {
  const listeners = new Set<(record: string) => void>();
  return {
    recent: () => recent,
    subscribe(listener: (record: string) => void) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    tell(record: string) {
      for (const listener of listeners) listener(record);
    },
    listeners,
  };
}

function reader(events: ReturnType<typeof source>, wanted: { recent: boolean; follow: boolean }) {
  const stop = new AbortController();
  return { stop, stream: streamEvents(events, wanted, stop.signal) };
}

describe('the stream of events', () => {
  it('gives what is recent and ends, where nobody follows', async () => {
    const events = source(['a', 'b']);
    const { stream } = reader(events, { recent: true, follow: false });
    expect((await Array.fromAsync(stream)).map(({ record }) => record)).toEqual(['a', 'b']);
    expect(events.listeners.size).toBe(0);
  });

  it('gives what is recent and goes on with what comes, without a gap', async () => {
    const events = source(['a']);
    const { stop, stream } = reader(events, { recent: true, follow: true });
    expect((await stream.next()).value?.record).toBe('a');
    events.tell('b');
    expect((await stream.next()).value?.record).toBe('b');
    const waiting = stream.next();
    events.tell('c');
    expect((await waiting).value?.record).toBe('c');
    const ending = stream.next();
    stop.abort();
    expect((await ending).done).toBe(true);
    expect(events.listeners.size).toBe(0);
  });

  it('leaves out nothing without saying so: a reader that is too slow is told how much it missed', async () => {
    const events = source();
    const { stream } = reader(events, { recent: false, follow: true });
    const first = stream.next();
    events.tell('first');
    await first;
    for (let each = 0; each < 10_003; each += 1) events.tell(`${each}`);
    const got: string[] = [];
    let lost = 0n;
    while (lost === 0n) {
      const { value } = await stream.next();
      if (value === undefined) throw new Error('the stream ended');
      lost = value.lost;
      if (lost === 0n) got.push(value.record);
    }
    expect(got).toHaveLength(10_000);
    expect(lost).toBe(3n);
    const next = stream.next();
    events.tell('again');
    expect((await next).value?.record).toBe('again');
  });

  it('forgets a reader that leaves half way', async () => {
    const events = source(['a', 'b', 'c']);
    const { stream } = reader(events, { recent: true, follow: true });
    await stream.next();
    await stream.return();
    expect(events.listeners.size).toBe(0);
  });
});
