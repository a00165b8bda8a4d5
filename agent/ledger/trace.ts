import { isPlace } from '../attest/context.ts';
import type { InstanceRecord, LedgerEvent } from './event.ts';
import type { ReadRecord } from './read.ts';
import { readLedger } from './read.ts';
import type { IssuanceRecord, LeaseJson, TokenJson, UseRecord } from './record.ts';
import { processKey } from './state.ts';

/** Whose story is asked for. */
export type TraceSubject =
  | { readonly kind: 'serial'; readonly serial: string }
  | { readonly kind: 'jti'; readonly jti: string }
  | { readonly kind: 'pid'; readonly pid: number }
  | { readonly kind: 'spiffe-id'; readonly spiffeId: string }
  | { readonly kind: 'decision'; readonly decision: string }
  | { readonly kind: 'lease'; readonly lease: string }
  /** A container's id or its first digits, a pod's uid or `namespace/name`, a unit's id or invocation. */
  | { readonly kind: 'place'; readonly place: string };

/** A lease's whole story. */
export interface LeaseTrace {
  readonly lease: string;
  /** How the oldest checkpoint that is kept knows it, when its first records are no longer there. */
  readonly known: LeaseJson | undefined;
  /** What was decided and how it was used, in the order of time. */
  readonly records: readonly ReadRecord[];
}

/** Those events that are about a lease. */
type LeaseEvent = Extract<LedgerEvent, { lease: string }>;

/** A story while it is gathered, with what its records are known by. */
interface Story {
  readonly lease: string;
  readonly known: LeaseJson | undefined;
  readonly records: ReadRecord[];
  readonly decisions: Set<string>;
  readonly jtis: Set<string>;
  /** Process and entry: bars name no lease. */
  readonly holders: Set<string>;
}

/**
 * The stories of all leases that a subject leads to, in the order in which they were opened: asked for, issued, renewed, adopted,
 * used, ended, revoked, barred. Empty when the ledger knows nothing of it.
 *
 * It goes through the ledger twice, first for the leases and then for their records, and keeps only what it tells.
 *
 * @param directory `<data_dir>/ledger`
 * @throws MayflyError as `readLedger`
 */
export function traceOf(directory: string, subject: TraceSubject): readonly LeaseTrace[] {
  const stories = storiesOf(directory, subject);
  if (stories.size === 0) return [];
  for (const read of readLedger(directory, 'issuance')) {
    for (const story of toldBy(read.record, stories)) story.records.push(read);
  }
  for (const read of readLedger(directory, 'use')) {
    for (const story of stories.values()) if (isUseOf(read.record, story)) story.records.push(read);
  }
  return Array.from(stories.values(), ({ known, lease, records }) => ({
    lease,
    known,
    records: records.toSorted((a, b) => Date.parse(a.record.time) - Date.parse(b.record.time)),
  }));
}

/** The leases that a subject leads to, in the order in which the ledger first speaks of them. */
function storiesOf(directory: string, subject: TraceSubject): ReadonlyMap<string, Story> {
  const stories = new Map<string, Story>();
  let isFirst = true;
  for (const { record } of readLedger(directory, 'issuance')) {
    if (record.type === 'checkpoint') {
      // What was opened before the first record that is kept stands in that record alone.
      for (const lease of isFirst ? record.state.leases : []) {
        if (isKnownAs(lease, subject)) stories.set(lease.id, knownStory(lease));
      }
    } else if (isAboutLease(record) && !stories.has(record.lease) && isMeant(record, subject)) {
      stories.set(record.lease, emptyStory(record.lease));
    }
    isFirst = false;
  }
  return stories;
}

/** The stories that a record belongs to, which know it by that from here on. */
function toldBy(record: IssuanceRecord, stories: ReadonlyMap<string, Story>): readonly Story[] {
  if (record.type === 'reissue.barred' || record.type === 'reissue.allowed') {
    const holder = holderText(record.boot_id, record, record.entry);
    return [...stories.values()].filter(({ holders }) => holders.has(holder));
  }
  if (record.type === 'checkpoint' || !isAboutLease(record)) return [];
  const story = stories.get(record.lease);
  if (story === undefined) return [];
  if ('decision' in record) story.decisions.add(record.decision);
  if ('jti' in record && record.jti !== undefined) story.jtis.add(record.jti);
  if ('instance' in record) story.holders.add(holderText(record.boot_id, record.instance, record.entry));
  return [story];
}

function isUseOf(record: UseRecord, { decisions, jtis }: Story): boolean {
  if (record.type === 'segment') return false;
  const { decision, jti } = record;
  return (decision !== undefined && decisions.has(decision)) || (jti !== undefined && jtis.has(jti));
}

function isAboutLease(record: LedgerEvent): record is LeaseEvent {
  return 'lease' in record;
}

function isMeant(event: LeaseEvent, subject: TraceSubject): boolean {
  switch (subject.kind) {
    case 'serial':
      if (event.type === 'svid.revoked') return event.certificates.some(({ serial }) => serial === subject.serial);
      return 'serial' in event && event.serial === subject.serial;
    case 'jti':
      if (event.type === 'svid.revoked') return event.tokens.some(({ jti }) => jti === subject.jti);
      return 'jti' in event && event.jti === subject.jti;
    case 'pid':
      return 'instance' in event && event.instance.pid === subject.pid;
    case 'spiffe-id':
      return event.spiffe_id === subject.spiffeId;
    case 'decision':
      return event.parent === subject.decision || ('decision' in event && event.decision === subject.decision);
    case 'lease':
      return event.lease === subject.lease;
    case 'place':
      return 'instance' in event && isPlace(subject.place, event.instance);
  }
}

function isKnownAs(lease: LeaseJson, subject: TraceSubject): boolean {
  switch (subject.kind) {
    case 'serial':
      return lease.certificates.some(({ serial }) => serial === subject.serial);
    case 'jti':
      return tokensOf(lease).some(({ jti }) => jti === subject.jti);
    case 'pid':
      return lease.instance.pid === subject.pid;
    case 'spiffe-id':
      return lease.spiffe_id === subject.spiffeId;
    case 'decision':
      return [lease, ...lease.certificates, ...tokensOf(lease)].some(({ decision }) => decision === subject.decision);
    case 'lease':
      return lease.id === subject.lease;
    case 'place':
      return isPlace(subject.place, lease.instance);
  }
}

function tokensOf({ tokens, wits = [] }: LeaseJson): readonly TokenJson[] {
  return [...tokens, ...wits];
}

function emptyStory(lease: string): Story {
  return { lease, known: undefined, records: [], decisions: new Set(), jtis: new Set(), holders: new Set() };
}

function knownStory(lease: LeaseJson): Story {
  return {
    ...emptyStory(lease.id),
    known: lease,
    decisions: new Set([lease, ...lease.certificates, ...tokensOf(lease)].map(({ decision }) => decision)),
    jtis: new Set(tokensOf(lease).map(({ jti }) => jti)),
    holders: new Set([holderText(lease.boot_id, lease.instance, lease.entry)]),
  };
}

function holderText(
  bootId: string,
  { pid, start_time }: Pick<InstanceRecord, 'pid' | 'start_time'>,
  entry: string,
): string {
  return `${processKey(bootId, pid, start_time)} ${entry}`;
}
