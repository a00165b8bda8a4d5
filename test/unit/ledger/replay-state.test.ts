import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalJson } from '../../../agent/ledger/canonical-json.ts';
import type { LedgerEvent, SvidIssued } from '../../../agent/ledger/event.ts';
import { ReplayState } from '../../../agent/ledger/replay-state.ts';
import { stateFromJson, stateText } from '../../../agent/ledger/state-json.ts';
import { verifyLedger } from '../../../agent/ledger/verify.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { BOOT, ended, issued, LedgerWorld, revoked, stateToJson, token } from './ledger-world.ts';

const HOUR = 3_600_000;
const clock = new ManualClock();

function stateAfter(...events: readonly LedgerEvent[]): ReplayState {
  const state = new ReplayState();
  for (const event of events) state.apply(event, { time: clock.now(), bootId: BOOT });
  return state;
}

describe('the state', () => {
  test('has a lease from its first issuance to its end', () => {
    const first = issued('a', clock);
    const second = issued('b', clock, { lease: first.lease, type: 'svid.renewed', parent: first.decision });
    const state = stateAfter(first, second);
    expect(state.leases.get('lease-a')).toMatchObject({ decision: 'decision-a', openedAt: clock.now(), bootId: BOOT });
    expect([...(state.leases.get('lease-a')?.certificates.keys() ?? [])]).toEqual(['serial-a', 'serial-b']);
    expect(stateAfter(first, second, ended(first)).leases.size).toBe(0);
  });

  test('moves a revoked token, and leaves the lease as it is', () => {
    const event = token('a', clock);
    const state = stateAfter(event, revoked(event));
    expect(state.leases.get('lease-a')?.tokens.size).toBe(0);
    expect(state.revokedTokens.get('jti-a')).toMatchObject({ decision: 'decision-a', reason: 'cessationOfOperation' });
    expect(state.decisionOf('jti-a')).toBe('decision-a');
  });

  test('has WIT-SVIDs apart from tokens, until they are revoked or their lease ends', () => {
    const jwt = token('a', clock);
    const wit = token('b', clock, { lease: jwt.lease, kind: 'wit' });
    const state = stateAfter(jwt, wit);
    const lease = state.leases.get('lease-a');
    expect([lease?.tokens, lease?.wits].map((map) => [...(map?.keys() ?? [])])).toEqual([['jti-a'], ['jti-b']]);
    expect(state.decisionOf('jti-b')).toBe('decision-b');
    const read = stateFromJson(JSON.parse(stateText(state, clock.now())));
    expect(read.leases).toEqual(state.leases);
    expect(read.decisionOf('jti-b')).toBe('decision-b');
    expect(stateText(stateAfter(jwt), clock.now())).not.toContain('wits');
    state.apply(revoked(wit), { time: clock.now(), bootId: BOOT });
    expect([lease?.tokens.size, lease?.wits.size]).toEqual([1, 0]);
    expect(state.revokedTokens.get('jti-b')).toMatchObject({ decision: 'decision-b' });
    const over = stateAfter(wit, ended(wit));
    expect([over.leases.size, over.decisionOf('jti-b')]).toEqual([0, undefined]);
    const back = stateAfter(jwt, wit);
    back.forgetIssued(wit);
    expect(back.leases.get('lease-a')?.wits.size).toBe(0);
  });

  test('has what an adopted process is now', () => {
    const event = issued('a', clock);
    const { entry, lease, spiffe_id } = event;
    const instance = { ...event.instance, inode: '77' };
    const state = stateAfter(event, { type: 'lease.adopted', lease, parent: 'x', instance, entry, spiffe_id });
    expect(state.leases.get('lease-a')).toMatchObject({
      instance,
      certificates: new Map([['serial-a', expect.anything()]]),
    });
  });

  test('keeps bars until they are lifted, or the machine has been started again', () => {
    const bar = (pid: number, type: 'reissue.barred' | 'reissue.allowed', entry = 'payments') =>
      ({ type, pid, start_time: '1', entry, spiffe_id: 'spiffe://example.org/x', reason: 'r' }) as const;
    const state = stateAfter(bar(1, 'reissue.barred'), bar(1, 'reissue.barred', 'mail'), bar(2, 'reissue.barred'));
    state.apply(bar(2, 'reissue.allowed'), { time: clock.now(), bootId: BOOT });
    state.apply(bar(1, 'reissue.allowed', 'mail'), { time: clock.now(), bootId: BOOT });
    expect(state.barred).toEqual(new Map([[`${BOOT}/1/1`, new Map([['payments', 'spiffe://example.org/x']])]]));
    const started = {
      type: 'agent.started',
      version: '1',
      pid: 1,
      trust_domain: 'x',
      proof: 'p',
      entries: '',
      policy: '',
    } as const;
    state.apply(started, { time: clock.now(), bootId: BOOT });
    expect(state.barred.size).toBe(1);
    state.apply(started, { time: clock.now(), bootId: 'another' });
    expect(state.barred.size).toBe(0);
  });

  test('never goes back to a CRL number', () => {
    const state = stateAfter({ type: 'crl.reserved', up_to: 30 }, { type: 'crl.reserved', up_to: 20 });
    expect(state.crlNumbersReserved).toBe(30);
  });

  test('takes back an issuance, with the lease if that was its first', () => {
    const first = issued('a', clock);
    const second = token('b', clock, { lease: first.lease });
    const state = stateAfter(first, second);
    state.forgetIssued(second);
    expect(state.decisionOf('jti-b')).toBeUndefined();
    expect(state.leases.size).toBe(1);
    state.forgetIssued(first);
    expect(state.leases.size).toBe(0);
    state.forgetIssued(first);
  });

  test('forgets what has been over for two minutes', () => {
    const long = token('long', clock, { lease: 'l', expires_at: new Date(clock.now() + 2 * HOUR).toISOString() });
    const short = token('short', clock, { lease: 'l' });
    const early = token('early', clock, { lease: 'm' });
    const certificate = issued('c', clock);
    const gone = issued('d', clock);
    const state = stateAfter(long, short, early, certificate, gone, revoked(gone));
    const over = clock.now() + HOUR + 120_000;
    state.prune(over - 1);
    expect([state.revokedCertificates.size, state.leases.get('lease-c')?.certificates.size]).toEqual([1, 1]);
    state.prune(over);
    expect([state.revokedCertificates.size, state.leases.get('lease-c')?.certificates.size]).toEqual([0, 0]);
    expect([...(state.leases.get('l')?.tokens.keys() ?? [])]).toEqual(['jti-long', 'jti-short']);
    expect(state.decisionOf('jti-early')).toBeUndefined();
    state.pruneTokens(over);
    expect([...(state.leases.get('l')?.tokens.keys() ?? [])]).toEqual(['jti-long']);
    expect(state.decisionOf('jti-short')).toBeUndefined();
  });

  test('does not grow with the tokens that a lease has had', () => {
    const state = new ReplayState();
    const time = new ManualClock();
    for (let index = 0; index < 1000; index += 1) {
      state.apply(token(String(index), time, { lease: 'l' }), { time: time.now(), bootId: BOOT });
      time.advance(60_000);
    }
    expect(state.leases.get('l')?.tokens.size).toBe(62);
  });
});

/** What may happen to three leases, as numbers: what, to which lease, with which certificate or token. */
const happenings = fc.array(
  fc.record({
    what: fc.constantFrom(
      'issue',
      'token',
      'wit',
      'end',
      'revoke',
      'revokeToken',
      'revokeWit',
      'adopt',
      'bar',
      'allow',
      'number',
      'pass',
      'step',
      'checkpoint',
    ),
    lease: fc.integer({ min: 0, max: 2 }),
    svid: fc.integer({ min: 0, max: 5 }),
  }),
  { maxLength: 40 },
);

describe('what is read back', () => {
  test('is what was in memory, at every point, whenever a checkpoint was taken and the clock was set', async () => {
    await fc.assert(
      fc.asyncProperty(happenings, async (list) => {
        const world = new LedgerWorld();
        try {
          const ledger = await world.open({ segmentSize: 4096 });
          const told: string[] = [];
          ledger.subscribe((record) => told.push(record));
          for (const { lease, svid, what } of list) {
            const now = world.clock;
            const certificate = issued(`${lease}-${svid}`, now, { lease: `lease-${lease}` });
            const jwt = token(`${lease}-${svid}`, now, { lease: `lease-${lease}` });
            const wit = token(`w-${lease}-${svid}`, now, { lease: `lease-${lease}`, kind: 'wit' });
            const { entry, instance, spiffe_id } = certificate;
            const process = { pid: lease, start_time: '1', entry, spiffe_id, reason: 'r' };
            const run: Record<typeof what, () => unknown> = {
              issue: () => ledger.append(certificate),
              token: () => ledger.append(jwt),
              wit: () => ledger.append(wit),
              end: () => ledger.note(ended(certificate)),
              revoke: () => ledger.note(revoked(certificate)),
              revokeToken: () => ledger.note(revoked(jwt)),
              revokeWit: () => ledger.note(revoked(wit)),
              adopt: () =>
                ledger.note({
                  type: 'lease.adopted',
                  lease: certificate.lease,
                  parent: 'p',
                  instance,
                  entry,
                  spiffe_id,
                }),
              bar: () => ledger.note({ type: 'reissue.barred', ...process }),
              allow: () => ledger.note({ type: 'reissue.allowed', ...process }),
              number: () => ledger.note({ type: 'crl.reserved', up_to: svid }),
              pass: () => now.elapse(HOUR / 2),
              step: () => now.step((svid - 2) * HOUR),
              checkpoint: () => ledger.checkpoint(),
            };
            await run[what]();
          }
          await ledger.settled();
          const again = await world.open();
          // What was over at the time of some record may be forgotten by either.
          const latest = Math.max(0, ...world.records().map(({ time }) => Date.parse(time)), world.clock.now());
          expect(stateToJson(again.state, latest)).toEqual(stateToJson(ledger.state, latest));
          const replayed = new ReplayState();
          for (const record of told.map((line): LedgerEvent & { time: string } => JSON.parse(line))) {
            replayed.apply(record, { time: Date.parse(record.time), bootId: BOOT });
          }
          expect(stateToJson(replayed, latest)).toEqual(stateToJson(ledger.state, latest));
          expect(verifyLedger(world.directory, 'issuance').problems).toEqual([]);
        } finally {
          world.clean();
        }
      }),
      { numRuns: 60 },
    );
  });

  test('survives a checkpoint', () => {
    const events: SvidIssued[] = ['a', 'b'].map((name) => issued(name, clock));
    const gone = token('d', clock, { lease: 'lease-c' });
    const state = stateAfter(
      ...events,
      revoked(events[0]!),
      token('c', clock, { owner: 'a "team"' }),
      gone,
      revoked(gone),
    );
    state.apply(
      { type: 'reissue.barred', pid: 1, start_time: '1', entry: 'ä', spiffe_id: 'spiffe://example.org/x', reason: 'r' },
      { time: clock.now(), bootId: BOOT },
    );
    const text = stateText(state, clock.now());
    expect(canonicalJson(JSON.parse(text))).toBe(text);
    const back = stateFromJson(JSON.parse(text));
    expect(stateText(back, clock.now())).toBe(text);
    expect(back.decisionOf('jti-c')).toBe('decision-c');
    expect(back.leases).toEqual(state.leases);
  });
});
