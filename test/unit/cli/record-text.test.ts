import { expect, test } from 'vitest';
import { printable } from '../../../agent/cli/output.ts';
import { recordLine } from '../../../agent/cli/record-text.ts';
import type { LedgerEvent, UseEvent } from '../../../agent/ledger/event.ts';
import { ISSUED, LEASE, TOKEN } from './ledger-events.ts';

const FIELDS = { seq: 1, time: '2026-01-01T00:00:00.000Z', boot_id: 'b', prev: '0', _hash: '1' };
const lineOf = (event: LedgerEvent | UseEvent) => recordLine({ ...FIELDS, ...event }).replace(`${FIELDS.time}  `, '');

const ID = 'spiffe://example.org/payments';
const caller = { pid: 9, start_time: '1', uid: 1001 };

test.each([
  [
    { ...ISSUED, lifetime_asked: 3_600_000, lifetime_given: 600_000 },
    `svid.issued      4711 payments  ${ID}  certificate 4d01 issued for 10m of the 1h asked, until 2026-01-01T01:00:00.000Z (rule lifetime; decision d1)`,
  ],
  [
    { ...ISSUED, type: 'svid.renewed', occasion: 'renewal', parent: 'd0' },
    `svid.renewed     4711 payments  ${ID}  certificate 4d01 issued as a renewal for 1h, until 2026-01-01T01:00:00.000Z (rule lifetime; decision d1, after d0)`,
  ],
  [
    TOKEN,
    `svid.issued      4711 payments  ${ID}  token aa for ledger, mail issued for 5m, until 2026-01-01T00:05:00.000Z (rule lifetime; decision d2)`,
  ],
  [
    { ...TOKEN, kind: 'wit', audiences: undefined, jti: 'bb' },
    `svid.issued      4711 payments  ${ID}  WIT-SVID bb issued for 5m, until 2026-01-01T00:05:00.000Z (rule lifetime; decision d2)`,
  ],
  [
    { ...TOKEN, type: 'svid.refused', reason: 'not for them', rule: 'audience' },
    `svid.refused     4711 payments  ${ID}  token for ledger, mail refused for 5m: not for them (rule audience; decision d2)`,
  ],
  [
    { ...LEASE, type: 'lease.ended', reason: 'executed', detail: 'was /bin/a' },
    `lease.ended      4711 payments  ${ID}  lease ended: its process ran another program; was /bin/a`,
  ],
  [
    {
      type: 'svid.revoked',
      lease: 'l1',
      parent: 'd1',
      entry: 'e',
      spiffe_id: ID,
      reason: 'keyCompromise',
      cause: 'stolen',
      certificates: [{ serial: '4d01', issuer: 'i', expires_at: '' }],
      tokens: [
        { jti: 'aa', expires_at: '' },
        { jti: 'bb', expires_at: '', kind: 'wit' },
      ],
    },
    `svid.revoked     ${ID}  revoked as keyCompromise (stolen): certificate 4d01, token aa, WIT-SVID bb`,
  ],
  [
    { type: 'svid.rejected', kind: 'jwt', jti: 'aa', audience: 'mail', caller, reason: 'it was revoked' },
    'svid.rejected    9  token aa REJECTED (it was revoked) for mail, asked by process 9 of uid 1001',
  ],
  [
    { type: 'svid.validated', kind: 'jwt', audience: 'mail', caller },
    'svid.validated   9  a token found valid for mail, asked by process 9 of uid 1001',
  ],
  [
    { type: 'svid.rejected', kind: 'wit', jti: 'bb', caller, reason: 'token was revoked (superseded)' },
    'svid.rejected    9  WIT-SVID bb REJECTED (token was revoked (superseded)), asked by process 9 of uid 1001',
  ],
  [
    { type: 'svid.validated', kind: 'wit', caller },
    'svid.validated   9  a WIT-SVID found valid, asked by process 9 of uid 1001',
  ],
  [
    { type: 'reissue.barred', pid: 4711, start_time: '1', entry: 'payments', spiffe_id: ID, reason: 'stolen' },
    `reissue.barred   4711  ${ID}  barred from entry payments: stolen`,
  ],
  [
    { type: 'agent.crashed', last_seq: 7, last_time: '2026-01-01T00:00:00.000Z' },
    'agent.crashed    the agent before did not stop in order; its last record is 7 of 2026-01-01T00:00:00.000Z',
  ],
] as readonly (readonly [LedgerEvent | UseEvent, string])[])('a line tells the record: %#', (event, line) => {
  expect(lineOf(event)).toBe(line);
});

test('every reason for an end has words of its own', () => {
  const lines = ['exited', 'changed-ids', 'changed-cgroup', 'gone', 'replaced', 'rebooted', 'revoked'].map((reason) =>
    lineOf({ ...LEASE, type: 'lease.ended', reason } as LedgerEvent),
  );
  expect(new Set(lines)).toHaveLength(lines.length);
  expect(lines.join('\n')).not.toContain('undefined');
});

test('a reason and a program are shown without obeying them', () => {
  const instance = { ...ISSUED.instance, executable: '/opt/\u001b[2J\u009b1m' };
  const line = printable(lineOf({ ...ISSUED, instance, rule: 'a\nb' }));
  expect(line).toContain(String.raw`4711 \u001b[2J\u009b1m`);
  expect(line).toContain(String.raw`rule a\u000ab`);
});
