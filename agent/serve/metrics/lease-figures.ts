import type { ContextKind } from '../../attest/context.ts';
import type { FollowedKind } from '../../lease/followers.ts';
import type { AnyHeldSvid } from '../../lease/held-svid.ts';
import type { FollowedSvid } from '../../lease/holdings.ts';
import { LEASE_ENDS } from '../../lease/lease-end.ts';
import type { Sample } from './family.ts';
import { countedBy, counter, gauge, group, samplesBy, seconds } from './family.ts';

const KINDS: readonly FollowedKind[] = ['x509', 'wit'];
const CONTEXTS: readonly ContextKind[] = ['container', 'pod', 'unit'];

/** What processes hold, and whether it is renewed in time. */
export const leaseFigures = group(
  'Leases',
  {
    mayfly_leases: gauge('Leases that live: a process and an entry each.', 'entry'),
    mayfly_leases_ended_total: counter('Leases that ended.', 'reason'),
    mayfly_workloads: gauge('Processes that hold or follow something.'),
    mayfly_contexts: gauge('Containers, pods and units of systemd that such processes are in.', 'context'),
    mayfly_tokens_outstanding: gauge('JWT-SVIDs of living leases that are remembered, so that they can be revoked.'),
    mayfly_svids_followed: gauge('SVIDs that are renewed, since a stream follows them.', 'kind'),
    mayfly_svid_renewals_failing: gauge('Of those: how many could not be issued when last tried.', 'kind'),
    mayfly_svid_renewal_overdue_seconds: gauge('Of those: for how long the latest has been due.', 'kind'),
    mayfly_svid_next_expiry_timestamp_seconds: gauge('Of those: when the first expires.', 'kind'),
    mayfly_svid_lifetime_left_ratio: gauge(
      'Of those: the least share of its lifetime that one has left; renewal is due at 0.45 to 0.55.',
      'kind',
    ),
  },
  ({ contexts, entries, entryLabels, leases, ledger, now }) => {
    const configured = (entries.latest.value?.entries ?? []).map(({ id }) => entryLabels.of(id));
    const followed = Map.groupBy(leases.followed(), ({ kind }) => kind);
    const ofKinds = (read: (of: readonly FollowedSvid[]) => number | undefined): readonly Sample[] =>
      KINDS.flatMap((kind) => {
        const value = read(followed.get(kind) ?? []);
        return value === undefined ? [] : [{ labels: { kind }, value }];
      });
    return {
      mayfly_leases: samplesBy(
        'entry',
        countedBy(leases, ({ entry }) => entryLabels.of(entry.id), configured),
      ),
      mayfly_leases_ended_total: samplesBy(
        'reason',
        LEASE_ENDS.map((reason) => [reason, leases.ended.get(reason) ?? 0]),
      ),
      mayfly_workloads: leases.workloads,
      mayfly_contexts: samplesBy(
        'context',
        CONTEXTS.map((kind) => [kind, contexts.count(kind)]),
      ),
      mayfly_tokens_outstanding: ledger.state.leases.values().reduce((sum, { tokens }) => sum + tokens.size, 0),
      mayfly_svids_followed: ofKinds((of) => of.length),
      mayfly_svid_renewals_failing: ofKinds((of) => of.filter(({ held }) => held.failure !== undefined).length),
      mayfly_svid_renewal_overdue_seconds: ofKinds((of) =>
        seconds(of.reduce((longest, { held }) => Math.max(longest, held.overdue(now) ?? 0), 0)),
      ),
      mayfly_svid_next_expiry_timestamp_seconds: ofKinds((of) =>
        least(of, ({ current }) => current && seconds(current.expiresAt)),
      ),
      mayfly_svid_lifetime_left_ratio: ofKinds((of) =>
        least(
          of,
          ({ current }) => current && Math.max(0, current.expiresAt - now) / (current.expiresAt - current.issuedAt),
        ),
      ),
    };
  },
);

/** The least of what is read of each, or `undefined` where there is nothing to read. */
function least(of: readonly FollowedSvid[], read: (held: AnyHeldSvid) => number | undefined): number | undefined {
  const values = of.flatMap(({ held }) => read(held) ?? []);
  return values.length === 0 ? undefined : values.reduce((smallest, value) => Math.min(smallest, value));
}
