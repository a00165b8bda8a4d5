import type { InstanceRecord, LeaseEnded, SvidIssued } from '../../../agent/ledger/event.ts';

export const INSTANCE: InstanceRecord = {
  pid: 4711,
  start_time: '8814',
  uid: 1000,
  gid: 100,
  executable: '/usr/bin/payments',
  cgroup: '/system.slice/payments.service',
};

export const ISSUED = {
  type: 'svid.issued',
  decision: 'd1',
  lease: 'l1',
  kind: 'x509',
  occasion: 'first',
  instance: INSTANCE,
  selectors: ['unix:uid:1000', 'unix:path:/usr/bin/payments'],
  entry: 'payments',
  owner: 'team-payments@example.org',
  spiffe_id: 'spiffe://example.org/payments',
  serial: '4d01',
  issuer: 'ab12',
  lifetime_asked: 3_600_000,
  lifetime_given: 3_600_000,
  expires_at: '2026-01-01T01:00:00.000Z',
  rule: 'lifetime',
} as const satisfies SvidIssued;

const { serial: _serial, issuer: _issuer, ...issued } = ISSUED;

export const TOKEN = {
  ...issued,
  decision: 'd2',
  kind: 'jwt',
  occasion: 'on-demand',
  jti: 'aa',
  audiences: ['ledger', 'mail'],
  lifetime_asked: 300_000,
  lifetime_given: 300_000,
  expires_at: '2026-01-01T00:05:00.000Z',
} as const satisfies SvidIssued;

/** What an end and what is like it say of the lease. */
export const LEASE: Pick<LeaseEnded, 'lease' | 'parent' | 'instance' | 'entry' | 'spiffe_id'> = {
  lease: 'l1',
  parent: 'd1',
  instance: INSTANCE,
  entry: 'payments',
  spiffe_id: 'spiffe://example.org/payments',
};
