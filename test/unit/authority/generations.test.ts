import { describe, expect, test } from 'vitest';
import type { Generation } from '../../../agent/authority/generations.ts';
import { orderChained, orderPublished, retiring } from '../../../agent/authority/generations.ts';

const TTL = 600_000;

function generation(id: string, createdAt: number, more: Partial<Generation> = {}): Generation {
  const notBefore = createdAt - 60_000;
  return { id, createdAt, notBefore, notAfter: createdAt + TTL, activated: true, ...more };
}

function published(
  line: readonly Generation[],
  now: number,
  more: { known?: boolean; outdated?: readonly string[]; ttl?: number } = {},
) {
  let made = 0;
  const order = orderPublished(line, {
    now,
    known: () => more.known ?? true,
    outdated: ({ id }) => (more.outdated ?? []).includes(id),
    create: () => {
      made += 1;
      return generation(`new${made}`, now, { activated: false, notAfter: now + (more.ttl ?? TTL) });
    },
  });
  return { ...order, ids: order.line.map(({ id, activated }) => (activated ? id : `(${id})`)).join(' ') };
}

test('a line that is continued no more signs nothing, and loses its keys as they expire', () => {
  const line = [generation('a', 0), generation('b', TTL / 2, { activated: false })];
  expect(retiring(line, TTL - 1)).toMatchObject({
    line,
    active: undefined,
    lookAgainAt: TTL,
    awaitsPublication: false,
  });
  expect(retiring(line, TTL).line.map(({ id }) => id)).toEqual(['b']);
  expect(retiring(line, 2 * TTL)).toMatchObject({ line: [], lookAgainAt: Number.POSITIVE_INFINITY });
});

describe('published keys', () => {
  test('the very first signs at once', () => {
    expect(published([], 0)).toMatchObject({ ids: 'new1', active: { id: 'new1' }, lookAgainAt: TTL / 2 });
  });

  test.each([
    ['until half its life, nothing happens', TTL / 2 - 1, 'a', 'a', TTL / 2],
    ['at half its life a successor is prepared, which signs nothing', TTL / 2, 'a (new1)', 'a', 400_000],
  ])('%s', (_, now, ids, active, lookAgainAt) => {
    expect(published([generation('a', 0)], now)).toMatchObject({ ids, active: { id: active }, lookAgainAt });
  });

  const prepared = generation('b', TTL / 2, { activated: false });

  test('at two thirds the successor signs, and the predecessor stays', () => {
    const line = [generation('a', 0), prepared];
    expect(published(line, 399_999)).toMatchObject({ ids: 'a (b)', active: { id: 'a' }, lookAgainAt: 400_000 });
    expect(published(line, 400_000)).toMatchObject({ ids: 'a b', active: { id: 'b' }, lookAgainAt: TTL });
  });

  test('a successor that verifiers may not know yet signs nothing', () => {
    const order = published([generation('a', 0), prepared], 450_000, { known: false });
    expect(order).toMatchObject({ ids: 'a (b)', active: { id: 'a' }, awaitsPublication: true, lookAgainAt: TTL });
  });

  test('unless the predecessor has expired', () => {
    const order = published([generation('a', 0), prepared], TTL, { known: false });
    expect(order).toMatchObject({ ids: 'b (new1)', active: { id: 'b' }, awaitsPublication: false });
  });

  test('after a sleep past everything there is a new one', () => {
    expect(published([generation('a', 0), prepared], 100 * TTL)).toMatchObject({ ids: 'new1', active: { id: 'new1' } });
  });

  test('a clock that went back behind every key makes a new one, and keeps those of the future', () => {
    const order = published([generation('a', 100 * TTL)], 0);
    expect(order).toMatchObject({ ids: 'a new1', active: { id: 'new1' } });
  });

  test('a clock that went back behind the newest goes on with the one before', () => {
    const line = [generation('a', 0), generation('b', TTL / 2)];
    expect(published(line, 100_000)).toMatchObject({ ids: 'a b', active: { id: 'a' }, lookAgainAt: TTL / 2 });
  });

  test('one that does not fit the configuration is followed as soon as its successor is known', () => {
    const line = [generation('a', 0)];
    const waiting = published(line, 1, { outdated: ['a'], known: false });
    expect(waiting).toMatchObject({ ids: 'a (new1)', active: { id: 'a' }, awaitsPublication: true });
    expect(published(waiting.line, 2, { outdated: ['a'] })).toMatchObject({ ids: 'a new1', active: { id: 'new1' } });
  });

  test('a shorter-lived successor takes over within its own life', () => {
    const line = [generation('a', 0, { notAfter: 100 * TTL })];
    const half = published(line, 50 * TTL);
    expect(half).toMatchObject({ ids: 'a (new1)', lookAgainAt: 50 * TTL + TTL / 3 });
    expect(published(half.line, 50 * TTL + TTL / 3)).toMatchObject({ ids: 'a new1', active: { id: 'new1' } });
  });

  test('what is in order stays the very same objects', () => {
    const line = [generation('a', 0), prepared];
    expect(published(line, 350_000).line).toEqual(line);
    expect(published(line, 350_000).line.every((each, index) => each === line[index])).toBe(true);
  });
});

describe('issuing CAs', () => {
  /** How long before half its lifetime is left a successor is prepared. */
  const AHEAD = 30_000;

  function chained(
    line: readonly Generation[],
    now: number,
    more: { issuerNotAfter?: number; listed?: boolean; ttl?: number } = {},
  ) {
    let made = 0;
    const order = orderChained(line, {
      now,
      ttl: more.ttl ?? TTL,
      issuerNotAfter: more.issuerNotAfter ?? Number.POSITIVE_INFINITY,
      outdated: ({ id }) => id === 'outdated',
      known: () => more.listed ?? true,
      create: (notAfter) => {
        made += 1;
        return generation(`new${made}`, now, { notAfter, activated: false });
      },
    });
    return { ...order, ids: order.line.map(({ id, activated }) => (activated ? id : `(${id})`)).join(' ') };
  }

  test('the very first signs at once, whether its list is out or not', () => {
    const order = chained([], 0, { listed: false });
    expect(order).toMatchObject({ ids: 'new1', active: { id: 'new1' }, lookAgainAt: TTL / 2 - AHEAD });
    expect(order.awaitsPublication).toBe(false);
  });

  test('a new one is prepared before half a lifetime is left, and signs nothing until its list is out', () => {
    const line = [generation('a', 0)];
    const at = TTL / 2 - AHEAD;
    expect(chained(line, at - 1)).toMatchObject({ ids: 'a', lookAgainAt: at });
    const prepared = chained(line, at, { listed: false });
    expect(prepared).toMatchObject({ ids: 'a (new1)', active: { id: 'a' }, awaitsPublication: true, lookAgainAt: TTL });
    expect(chained(prepared.line, at + 1, { listed: false })).toMatchObject({ ids: 'a (new1)', active: { id: 'a' } });
    expect(chained(prepared.line, at + 10_000)).toMatchObject({ ids: 'a new1', active: { id: 'new1' } });
  });

  test('the old one stays until its end', () => {
    const line = [generation('a', 0), generation('b', TTL / 2 - AHEAD)];
    expect(chained(line, TTL / 2)).toMatchObject({ ids: 'a b', active: { id: 'b' }, lookAgainAt: TTL - 2 * AHEAD });
    expect(chained(line, TTL).line[0]).toMatchObject({ id: 'b' });
  });

  test('a prepared one signs at once when nothing else is valid any more, and a new one when it is not either', () => {
    const line = [generation('a', 0), generation('b', TTL / 2, { activated: false })];
    expect(chained(line, TTL, { listed: false })).toMatchObject({ ids: 'b (new1)', active: { id: 'b' } });
    expect(chained(line, 100 * TTL, { listed: false })).toMatchObject({ ids: 'new1', active: { id: 'new1' } });
  });

  test('a short-lived one is prepared in proportion', () => {
    const line = [generation('a', 0, { notAfter: 80_000 })];
    expect(chained(line, 0, { ttl: 80_000 })).toMatchObject({ ids: 'a', lookAgainAt: 30_000 });
  });

  test('none outlives its root, and under the same root there is no point in another', () => {
    const capped = chained([], 500, { issuerNotAfter: 100_000 });
    expect(capped).toMatchObject({ ids: 'new1', active: { notAfter: 100_000 }, lookAgainAt: 100_000 });
    expect(chained(capped.line, 99_999, { issuerNotAfter: 100_000 })).toMatchObject({
      ids: 'new1',
      lookAgainAt: 100_000,
    });
    expect(chained(capped.line, 99_999, { issuerNotAfter: 10 * TTL })).toMatchObject({
      ids: 'new1 new1',
      active: { notAfter: 699_000 },
    });
  });

  test('one that does not fit the configuration is followed as soon as the list of the next is out', () => {
    const line = [generation('outdated', 0)];
    const waiting = chained(line, 1, { listed: false });
    expect(waiting).toMatchObject({ ids: 'outdated (new1)', active: { id: 'outdated' }, awaitsPublication: true });
    expect(chained(waiting.line, 2)).toMatchObject({ ids: 'outdated new1', active: { id: 'new1' } });
  });

  test('what is in order stays the very same objects', () => {
    const line = [generation('a', 0), generation('b', TTL / 2 - AHEAD, { activated: false })];
    const { line: after } = chained(line, TTL / 2, { listed: false });
    expect(after.length === 2 && after.every((each, index) => each === line[index])).toBe(true);
  });
});
