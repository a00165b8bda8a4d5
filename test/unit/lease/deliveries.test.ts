import { describe, expect, it } from 'vitest';
import { Deliveries } from '../../../agent/lease/deliveries.ts';
import { livingInstance } from '../../support/instance.ts';

const never = new AbortController().signal;

describe('the streams that are open', () => {
  it('are there from their beginning to their end', () => {
    const deliveries = new Deliveries();
    const one = deliveries.open(livingInstance(), 'FetchX509SVID');
    const two = deliveries.open(livingInstance(), 'FetchX509Bundles');
    expect([...deliveries]).toEqual([one, two]);
    one[Symbol.dispose]();
    expect([...deliveries]).toEqual([two]);
  });

  it('say when they were told enough, also if they were told before', async () => {
    const subscriber = new Deliveries().open(livingInstance(), 'FetchX509SVID');
    const waiting = subscriber.until(({ lists }) => lists >= 2, never);
    subscriber.tell({ svids: [], lists: 1 });
    subscriber.tell({ svids: ['a'], lists: 2 });
    expect(await waiting).toBe('told');
    expect(await subscriber.until(({ svids }) => svids.includes('a'), never)).toBe('told');
  });

  it('say that they ended, and that it took too long', async () => {
    const subscriber = new Deliveries().open(livingInstance(), 'FetchX509SVID');
    const late = new AbortController();
    const waiting = subscriber.until(() => false, late.signal);
    late.abort();
    expect(await waiting).toBe('late');
    const ending = subscriber.until(() => false, never);
    subscriber[Symbol.dispose]();
    expect(await ending).toBe('ended');
    expect(await subscriber.until(() => false, never)).toBe('ended');
  });
});
