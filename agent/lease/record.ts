import { randomUUID } from 'node:crypto';
import type { Attested } from '../attest/attestor.ts';
import type { Context } from '../attest/context.ts';
import { mayBeSecret } from '../attest/engine/docker-vocabulary.ts';
import type { Selector } from '../kernel/selector.ts';
import type { CallerRefused, InstanceRecord, SvidIssued, SvidKind, SvidRefused } from '../ledger/event.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Grant, IssueRequest, Refusal } from '../policy/grant.ts';
import type { Entry } from '../registry/entry.ts';
import type { Lease } from './lease.ts';

const instances = new WeakMap<ProcessInstance, { readonly context: Context; readonly record: InstanceRecord }>();
const recordedSelectors = new WeakMap<Attested['selectors'], Recorded>();
// A pod of some containers comes to four thousand characters, with all its images by name and digest.
const MOST_LENGTH = 16_384;

type Recorded = Pick<CallerRefused, 'selectors' | 'selectors_left_out'>;

/**
 * What the ledger keeps of a process instance and of where it lives. One object for one instance, which the ledger then encodes once,
 * as long as nothing more is found out.
 */
export function instanceRecordOf(instance: ProcessInstance, context: Context): InstanceRecord {
  const known = instances.get(instance);
  if (known?.context === context) return known.record;
  const { inode, executable, cgroup, namespaces, layout } = instance.facts();
  const { container, pod, unit } = context;
  const record: InstanceRecord = Object.freeze({
    pid: instance.pid,
    start_time: instance.startTime,
    uid: instance.uid,
    gid: instance.gid,
    ...(inode !== undefined && { inode }),
    ...(executable !== undefined && { executable }),
    ...(cgroup !== undefined && { cgroup }),
    ...(namespaces !== undefined && { namespaces }),
    ...(layout !== undefined && { layout }),
    ...(container !== undefined && { container }),
    ...(pod !== undefined && { pod }),
    ...(unit !== undefined && { unit }),
  });
  instances.set(instance, { context, record });
  return record;
}

/** What was signed, by the names that the ledger knows it by. `expiresAt` in milliseconds since the epoch. */
export type Signed =
  | { readonly serial: string; readonly issuer: string; readonly expiresAt: number }
  | { readonly jti: string; readonly expiresAt: number };

/** The record of a decision to issue, with what was signed for it. */
export function issuedRecord(request: IssueRequest, grant: Grant, lease: Lease, signed: Signed): SvidIssued {
  const { expiresAt, ...named } = signed;
  return {
    type: request.occasion === 'renewal' ? 'svid.renewed' : 'svid.issued',
    lease: lease.id,
    ...asked(request, grant, lease),
    ...named,
    lifetime_given: Math.round(expiresAt - grant.issuedAt),
    expires_at: new Date(expiresAt).toISOString(),
    rule: grant.rule,
  };
}

/** The record of a decision not to. */
export function refusedRecord(request: IssueRequest, refusal: Refusal, lease: Lease): SvidRefused {
  return {
    type: 'svid.refused',
    lease: lease.id,
    ...asked(request, refusal, lease),
    rule: refusal.rule,
    reason: refusal.message,
  };
}

/**
 * The record of a process that no entry entitles to anything.
 *
 * @param reason a sentence
 */
export function strangerRecord(
  { context, instance, selectors }: Attested,
  kind: SvidKind,
  reason: string,
): CallerRefused {
  return {
    type: 'caller.refused',
    decision: randomUUID(),
    kind,
    instance: instanceRecordOf(instance, context),
    ...selectorsOf(selectors),
    reason,
  };
}

/** The owner of an entry as a field of a record: absent where there is none. */
export function ownerOf({ owner }: Entry): { readonly owner?: string } {
  return owner === undefined ? {} : { owner };
}

function asked(request: IssueRequest, decision: Grant | Refusal, lease: Lease) {
  const { context, entry, instance, kind, occasion } = request;
  return {
    decision: decision.decisionId,
    ...(lease.decisionId !== undefined && { parent: lease.decisionId }),
    kind,
    occasion,
    instance: instanceRecordOf(instance, context),
    ...selectorsOf(request.selectors, entry),
    entry: entry.id,
    ...ownerOf(entry),
    spiffe_id: entry.spiffeId,
    ...(request.kind === 'jwt' && { audiences: request.audiences }),
    lifetime_asked: Math.round(decision.lifetimeAsked),
  };
}

/**
 * What was attested, sorted. An environment variable, which may be a password, is left out unless the entry asks for it: a ledger is kept
 * for years, and given to others. Who chooses the labels of a pod or a container would fill the ledger with them, and push out what others
 * have done: beyond what any process that means well has, only what the entry asks for is kept, and how much else there was.
 */
function selectorsOf(selectors: Attested['selectors'], entry?: Entry): Recorded {
  const recorded = openSelectorsOf(selectors);
  const more = entry?.selectors.filter((one) => selectors.has(one) && !recorded.selectors.includes(one)) ?? [];
  if (more.length === 0) return recorded;
  const leftOut = (recorded.selectors_left_out ?? 0) - more.filter((selector) => !mayBeSecret(selector)).length;
  return recordedOf([...recorded.selectors, ...more].toSorted(), leftOut);
}

/** While nothing about a process changes, attestation gives the same set: sorted once, and one list for the ledger to encode once. */
function openSelectorsOf(selectors: Attested['selectors']): Recorded {
  let recorded = recordedSelectors.get(selectors);
  if (recorded === undefined) {
    const open = [...selectors].filter((selector) => !mayBeSecret(selector));
    const kept = within(MOST_LENGTH, open).toSorted();
    recorded = recordedOf(kept, open.length - kept.length);
    recordedSelectors.set(selectors, recorded);
  }
  return recorded;
}

function recordedOf(selectors: string[], leftOut: number): Recorded {
  return { selectors: Object.freeze(selectors), ...(leftOut > 0 && { selectors_left_out: leftOut }) };
}

/** As many as fit, and those first of which there are few: one who has a thousand labels still has one namespace. */
function within(most: number, selectors: readonly Selector[]): readonly Selector[] {
  const byName = [...Map.groupBy(selectors, (selector) => selector.split(':', 2).join(':')).values()];
  let length = 0;
  return byName
    .toSorted((a, b) => a.length - b.length)
    .flat()
    .filter((selector) => {
      length += selector.length;
      return length <= most;
    });
}
