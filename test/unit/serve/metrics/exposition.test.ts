import { describe, expect, test } from 'vitest';
import { Exposition } from '../../../../agent/serve/metrics/exposition.ts';
import type { Family } from '../../../../agent/serve/metrics/family.ts';
import { counter, gauge } from '../../../../agent/serve/metrics/family.ts';
import type { Readings } from '../../../../agent/serve/metrics/figures.ts';
import { Scraped } from '../../../support/scrape.ts';

const FAMILIES: readonly (readonly [string, Family])[] = [
  ['mayfly_level', gauge('A level.')],
  ['mayfly_things', gauge('Things.', 'entry')],
  ['mayfly_turns_total', counter('Turns.', 'reason')],
];

const exposition = () => new Exposition(FAMILIES);

async function scraped(of: Exposition, readings: Readings): Promise<Scraped> {
  const { body } = await of.page(() => Promise.resolve(readings));
  return new Scraped(body);
}

const things = (counts: Readonly<Record<string, number>>) =>
  ['mayfly_things', Object.entries(counts).map(([entry, value]) => ({ labels: { entry }, value }))] as const;

describe('what is read', () => {
  test('is told as it is, each time anew', async () => {
    const of = exposition();
    const turns = (value: number) => ['mayfly_turns_total', [{ labels: { reason: 'wind' }, value }]] as const;
    const first = await scraped(of, [['mayfly_level', -2.5], things({ a: 1, b: 2 }), turns(7)]);
    expect(first.value('mayfly_level')).toBe(-2.5);
    expect(first.value('mayfly_things', { entry: 'b' })).toBe(2);
    expect(first.value('mayfly_turns_total', { reason: 'wind' })).toBe(7);
    expect(first.types.get('mayfly_turns_total')).toBe('counter');
    const second = await scraped(of, [['mayfly_level', 0], things({ a: 1 }), turns(8)]);
    expect(second.value('mayfly_level')).toBe(0);
    expect(second.value('mayfly_turns_total', { reason: 'wind' })).toBe(8);
    expect(second.value('mayfly_things', { entry: 'b' })).toBeUndefined();
  });

  test('is not told where there is nothing to tell, but what it would be is', async () => {
    const of = exposition();
    await scraped(of, [['mayfly_level', 3]]);
    const none = await scraped(of, [['mayfly_level', undefined]]);
    expect(none.value('mayfly_level')).toBeUndefined();
    expect(none.names).toContain('mayfly_level');
  });

  test('has labels with whatever is in them, and no line more', async () => {
    const odd = 'a"b\\c\nmayfly_level 1';
    const { text } = await scraped(exposition(), [things({ [odd]: 1 })]);
    expect(text).toContain(String.raw`mayfly_things{entry="a\"b\\c\nmayfly_level 1"} 1`);
    expect(text).not.toMatch(/^mayfly_level 1/m);
  });

  test('must have been declared', async () => {
    await expect(scraped(exposition(), [['mayfly_other', 1]])).rejects.toThrow(
      'mayfly_other is read and was not declared',
    );
  });

  test('is read once for all who ask meanwhile, and anew for who asks then', async () => {
    const of = exposition();
    const { promise, resolve } = Promise.withResolvers<Readings>();
    let reads = 0;
    const read = () => {
      reads += 1;
      return promise;
    };
    const asked = [of.page(read), of.page(read), of.page(read)];
    resolve([['mayfly_level', 1]]);
    const bodies = await Promise.all(asked);
    expect(reads).toBe(1);
    expect(new Set(bodies.map(({ body }) => body)).size).toBe(1);
    await of.page(read);
    expect(reads).toBe(2);
  });

  test('that fails fails those who asked, and nobody afterwards', async () => {
    const of = exposition();
    await expect(of.page(() => Promise.reject(new Error('a defect')))).rejects.toThrow('a defect');
    expect((await scraped(of, [['mayfly_level', 1]])).value('mayfly_level')).toBe(1);
  });
});

describe('what is measured', () => {
  test('is counted by entry, kind and occasion, and timed in seconds', async () => {
    const of = exposition();
    const { measurements } = of;
    measurements.issued({ entry: 'own', kind: 'x509' }, 'first', 3);
    measurements.issued({ entry: 'own', kind: 'x509' }, 'renewal', 300);
    measurements.refused({ entry: undefined, kind: 'jwt' }, 'no_entry');
    measurements.failed({ entry: 'own', kind: 'jwt' }, 'DISK_FULL');
    measurements.renewed('x509', 1500);
    const now = await scraped(of, []);
    const own = { entry: 'own', kind: 'x509' };
    expect(now.value('mayfly_svids_issued_total', { ...own, occasion: 'first' })).toBe(1);
    expect(now.value('mayfly_svids_issued_total', { ...own, occasion: 'renewal' })).toBe(1);
    expect(now.value('mayfly_svid_issue_duration_seconds_bucket', { kind: 'x509', le: '0.005' })).toBe(1);
    expect(now.value('mayfly_svid_issue_duration_seconds_sum', { kind: 'x509' })).toBeCloseTo(0.303);
    expect(now.value('mayfly_svids_refused_total', { entry: '(none)', kind: 'jwt', reason: 'no_entry' })).toBe(1);
    expect(now.value('mayfly_svids_failed_total', { entry: 'own', kind: 'jwt', code: 'DISK_FULL' })).toBe(1);
    expect(now.value('mayfly_svid_renewal_lateness_seconds_sum', { kind: 'x509' })).toBe(1.5);
  });

  test('is there before its first time where its labels are known', async () => {
    const of = exposition();
    const before = await scraped(of, []);
    const revoked = { kind: 'wit', reason: 'cessationOfOperation' };
    expect(before.value('mayfly_revocations_total', revoked)).toBe(0);
    of.measurements.revoked({ x509: 1, jwt: 0, wit: 2 }, 'cessationOfOperation');
    of.measurements.published(40);
    const after = await scraped(of, []);
    expect(after.value('mayfly_revocations_total', revoked)).toBe(2);
    expect(after.value('mayfly_revocation_delay_seconds_count')).toBe(1);
  });

  test('is of a method and its service, of a page, of a stream of the ledger', async () => {
    const of = exposition();
    of.measurements.ended('/SpiffeWorkloadAPI/FetchJWTSVID', 'OK');
    of.measurements.ended('/SpiffeWorkloadAPI/FetchJWTSVID', 'CANCELLED');
    of.measurements.sent('/SpiffeWorkloadAPI/FetchX509SVID');
    of.measurements.answered('/metrics', 200);
    of.measurements.flushed('use', 2);
    of.measurements.attested('unix', 0.4);
    const now = await scraped(of, []);
    const call = { service: 'SpiffeWorkloadAPI', method: 'FetchJWTSVID' };
    expect(now.value('mayfly_calls_total', { ...call, code: 'OK' })).toBe(1);
    expect(now.value('mayfly_calls_total', { ...call, code: 'CANCELLED' })).toBe(1);
    expect(now.value('mayfly_stream_messages_total', { ...call, method: 'FetchX509SVID' })).toBe(1);
    expect(now.value('mayfly_http_requests_total', { path: '/metrics', code: '200' })).toBe(1);
    expect(now.value('mayfly_ledger_flush_duration_seconds_count', { stream: 'use' })).toBe(1);
    expect(now.value('mayfly_attestation_duration_seconds_bucket', { attestor: 'unix', le: '0.0005' })).toBe(1);
  });

  test('stays of a bounded size, however many entries come and go', async () => {
    const of = exposition();
    for (let count = 0; count < 3000; count += 1) {
      of.measurements.issued({ entry: `entry-${count}`, kind: 'x509' }, 'first', 1);
    }
    const now = await scraped(of, []);
    const series = now.text.split('\n').filter((line) => line.startsWith('mayfly_svids_issued_total{'));
    expect(series).toHaveLength(1001);
    expect(now.value('mayfly_svids_issued_total', { entry: '(other)', kind: 'x509', occasion: 'first' })).toBe(2000);
  });
});
