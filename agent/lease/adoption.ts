import type { Context } from '../attest/context.ts';
import type { Latest } from '../kernel/latest.ts';
import type { Log } from '../kernel/log.ts';
import type { LeaseEndReason } from '../ledger/event.ts';
import type { IssuanceLedger } from '../ledger/issuance-ledger.ts';
import type { LiveLease } from '../ledger/state.ts';
import { processKey } from '../ledger/state.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Instances } from '../peer/process.ts';
import type { EntrySet } from '../registry/entry-set.ts';
import { entryNamed } from '../registry/written-entry.ts';
import type { Revocation } from '../revocation/revocation.ts';
import type { Leases } from './leases.ts';

/** What a start needs to take over what the agent before it left. */
export interface AdoptionParts {
  readonly ledger: IssuanceLedger;
  readonly instances: Instances;
  readonly entries: Latest<EntrySet>;
  readonly leases: Leases;
  readonly revocation: Revocation;
  readonly log: Log;
}

/** How many leases were taken over, and how many had to end. */
export interface AdoptionCount {
  readonly adopted: number;
  readonly revoked: number;
}

/**
 * Goes through the leases that the ledger says are alive. A process that still is what it was is held and watched again, and keeps what
 * it has; whatever cannot be told to be the same has no identity any more. To be called before anybody can connect.
 */
export function adoptLeases({ entries, ledger, log, ...parts }: AdoptionParts): AdoptionCount {
  let adopted = 0;
  let revoked = 0;
  const living: ProcessInstance[] = [];
  for (const leases of byProcess(ledger.state.leases.values())) {
    const { ended, instance } = adoptProcess(leases, entries.value, { ledger, ...parts });
    adopted += leases.length - ended;
    revoked += ended;
    if (instance !== undefined) living.push(instance);
  }
  void lookAtEach(living, parts.leases);
  if (adopted + revoked > 0) {
    log.info('lease.adopted', `took over ${adopted} leases of the agent before, and ended ${revoked}`, {
      adopted,
      revoked,
    });
  }
  return { adopted, revoked };
}

/** Whether they are still entitled: one after the other, since those who connect now come first. */
async function lookAtEach(instances: readonly ProcessInstance[], leases: Leases): Promise<void> {
  for (const instance of instances) await leases.lookAgain(instance);
}

/** The leases of one process: how many of them had to end, and the process where it is held. */
function adoptProcess(
  leases: readonly LiveLease[],
  entries: EntrySet | undefined,
  parts: Omit<AdoptionParts, 'entries' | 'log'>,
): { readonly ended: number; readonly instance?: ProcessInstance } {
  const [first] = leases;
  if (first === undefined) return { ended: 0 };
  const { instances, ledger, revocation } = parts;
  const { instance } = first;
  const adoption = instances.adopt({
    bootId: first.bootId,
    pid: instance.pid,
    startTime: instance.start_time,
    uid: instance.uid,
    gid: instance.gid,
    facts: {
      inode: instance.inode,
      executable: instance.executable,
      cgroup: instance.cgroup,
      namespaces: instance.namespaces,
      layout: instance.layout,
    },
  });
  if (adoption.kind !== 'adopted') {
    for (const lease of leases) revocation.end(lease, adoption.kind, { detail: adoption.detail });
    return { ended: leases.length };
  }
  let ended = 0;
  for (const lease of leases) {
    const written = entries?.get(lease.entry);
    // With which values it was made is in the identity; whether they are still the process' own is looked at right afterwards.
    const entry = written === undefined ? undefined : entryNamed(written, lease.spiffeId);
    if (entry === undefined) {
      const reason: LeaseEndReason = written === undefined ? 'entry-removed' : 'entry-changed';
      revocation.end(lease, reason, {});
      ended += 1;
      continue;
    }
    const { id, decision, openedAt, spiffeId } = lease;
    ledger.note({ type: 'lease.adopted', lease: id, parent: decision, instance, entry: entry.id, spiffe_id: spiffeId });
    const outstanding = [lease.certificates, lease.tokens, lease.wits].flatMap((issued) => [...issued.values()]);
    parts.leases.adopt(adoption.instance, entry, {
      id,
      context: contextIn(instance),
      decision,
      openedAt,
      serials: [...lease.certificates.keys()],
      wits: [...lease.wits.keys()],
      expiresAt: Math.max(0, ...outstanding.map(({ expiresAt }) => expiresAt)),
    });
  }
  // From here on the leases hold it.
  adoption.release();
  return { ended, instance: adoption.instance };
}

/** What its record says of where a process lived. */
function contextIn({ container, pod, unit }: LiveLease['instance']): Context {
  return {
    ...(container !== undefined && { container }),
    ...(pod !== undefined && { pod }),
    ...(unit !== undefined && { unit }),
  };
}

/** Collected first: ending a lease takes it out of the state that is gone through. */
function byProcess(leases: Iterable<LiveLease>): Iterable<readonly LiveLease[]> {
  const groups = Map.groupBy(leases, ({ bootId, instance }) => processKey(bootId, instance.pid, instance.start_time));
  return groups.values();
}
