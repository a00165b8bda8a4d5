import { beforeEach, describe, expect, test } from 'vitest';
import type { Latest } from '../../../agent/kernel/latest.ts';
import type { PublishedLists } from '../../../agent/revocation/publisher.ts';
import { Publisher } from '../../../agent/revocation/publisher.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { SECOND } from './revocation-world.ts';

const RATE = 1024 * 1024;

let clock: ManualClock;
let size: number;
let signed: number;
let publisher: Publisher;

beforeEach(() => {
  clock = new ManualClock();
  size = 1024;
  signed = 0;
  publisher = new Publisher({ x509SvidInterval: SECOND, sdsInterval: 200, maxPushRate: RATE }, clock, () => {
    signed += 1;
    return { crls: [Buffer.alloc(size)], number: signed };
  });
  publisher.publishNow();
});

/** Follows with `count` streams; what the first of them was told, and when. */
function follow(latest: Latest<PublishedLists>, count = 1) {
  const told: { readonly number: number; readonly at: number }[] = [];
  const stop = new AbortController();
  const begun = clock.monotonic();
  for (let stream = 0; stream < count; stream++) {
    void (async () => {
      for await (const { number } of latest.follow(stop.signal)) {
        if (stream === 0) told.push({ number, at: clock.monotonic() - begun });
      }
    })();
  }
  return { told, stop: () => stop.abort() };
}

test('there are lists for all from the beginning', () => {
  expect(publisher.forBundles.value).toMatchObject({ number: 1 });
  expect(publisher.forSvids.value).toBe(publisher.forBundles.value);
  expect(publisher.forProxies.value).toBe(publisher.forBundles.value);
});

test('after a quiet time the first is told at once, with all that happens in the same turn', async () => {
  const bundles = follow(publisher.forBundles);
  const svids = follow(publisher.forSvids);
  await clock.elapse(10 * SECOND);
  for (let made = 0; made < 100; made++) publisher.revoked();
  expect(signed).toBe(1);
  await clock.elapse(0);
  expect(bundles.told.map(({ number }) => number)).toEqual([1, 2]);
  expect(svids.told).toEqual(bundles.told);
  expect(publisher.lastDelayMs).toBe(0);
  await clock.elapse(10 * SECOND);
  expect(signed).toBe(2);
});

test('under churn followers of bundles are told in short steps, proxies and those of certificates once in their interval', async () => {
  const bundles = follow(publisher.forBundles);
  const proxies = follow(publisher.forProxies);
  const svids = follow(publisher.forSvids);
  await clock.elapse(10 * SECOND);
  for (let at = 0; at < 5000; at += 5) {
    publisher.revoked();
    await clock.elapse(5);
  }
  await clock.elapse(2 * SECOND);
  const gaps = bundles.told.slice(2).map(({ at }, index) => at - bundles.told[index + 1]!.at);
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(20);
  expect(Math.max(...gaps)).toBeLessThanOrEqual(25);
  expect(publisher.lastDelayMs).toBeLessThanOrEqual(25);
  expect(svids.told.length).toBeGreaterThanOrEqual(6);
  expect(svids.told.length).toBeLessThanOrEqual(8);
  expect(proxies.told.length).toBeGreaterThanOrEqual(25);
  expect(proxies.told.length).toBeLessThanOrEqual(28);
  // Nothing is left out: the last that was signed is the last that all were told.
  expect([bundles, proxies, svids].map(({ told }) => told.at(-1)!.number)).toEqual([signed, signed, signed]);
});

test.each([
  [100, 0],
  [100, 50],
  [10, 400],
])('bytes a second are bounded over %i and %i streams together', async (bundleStreams, svidStreams) => {
  size = 64 * 1024;
  publisher.configure({ x509SvidInterval: 100, sdsInterval: 50, maxPushRate: 16 * RATE });
  const bundles = follow(publisher.forBundles, bundleStreams);
  const svids = follow(publisher.forSvids, Math.max(1, svidStreams));
  if (svidStreams === 0) svids.stop();
  await clock.elapse(10 * SECOND);
  const before = [bundles.told.length, svids.told.length] as const;
  for (let at = 0; at < 30_000; at += 50) {
    publisher.revoked();
    await clock.elapse(50);
  }
  const pushed = (bundles.told.length - before[0]) * bundleStreams + (svids.told.length - before[1]) * svidStreams;
  const rate = (pushed * size) / 30;
  // The first of each goes out at once.
  const first = ((bundleStreams + svidStreams) * size) / 30;
  expect(rate).toBeLessThanOrEqual(16 * RATE + first);
  expect(rate).toBeGreaterThan(7 * RATE);
  bundles.stop();
  svids.stop();
});

test('what everybody needs now is told at once, whatever the pace, and once', async () => {
  const bundles = follow(publisher.forBundles, 100);
  const svids = follow(publisher.forSvids, 100);
  size = 1024 * 1024;
  await clock.elapse(10 * SECOND);
  publisher.revoked();
  await clock.elapse(0);
  publisher.revoked();
  await clock.elapse(SECOND);
  expect(signed).toBe(2);
  publisher.publishNow();
  await clock.elapse(0);
  expect([bundles.told.at(-1)!.number, svids.told.at(-1)!.number]).toEqual([3, 3]);
  expect(publisher.lastDelayMs).toBe(SECOND);
  await clock.elapse(1000 * SECOND);
  expect(signed).toBe(3);
});

describe('another pace', () => {
  test('holds for what is waiting already', async () => {
    publisher.configure({ x509SvidInterval: 3600 * SECOND, sdsInterval: 3600 * SECOND, maxPushRate: RATE });
    const svids = follow(publisher.forSvids);
    publisher.revoked();
    await clock.elapse(10 * SECOND);
    expect(svids.told.map(({ number }) => number)).toEqual([1]);
    publisher.configure({ x509SvidInterval: SECOND, sdsInterval: 200, maxPushRate: RATE });
    await clock.elapse(0);
    expect(svids.told.map(({ number }) => number)).toEqual([1, 2]);
  });
});

test('closed, it publishes nothing more and leaves no alarm', async () => {
  publisher.revoked();
  await clock.elapse(0);
  publisher.revoked();
  publisher.close();
  publisher.revoked();
  publisher.publishNow();
  expect(clock.alarms).toBe(0);
  const before = signed;
  await clock.elapse(10 * SECOND);
  expect(signed).toBe(before);
});
