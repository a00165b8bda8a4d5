import { basename } from 'node:path';
import { formatDuration } from '../kernel/duration.ts';
import type {
  InstanceRecord,
  LeaseEndReason,
  SvidIssued,
  SvidKind,
  SvidRefused,
  SvidRevoked,
  SvidValidated,
} from '../ledger/event.ts';
import type { AnyRecord, Checkpoint } from '../ledger/record.ts';
import { formatAge } from './moment.ts';

/** Why a lease ended, for someone who does not know the ledger's words. */
const ENDS: Readonly<Record<LeaseEndReason, string>> = {
  exited: 'its process ended',
  executed: 'its process ran another program',
  'changed-ids': 'its process changed its user or group',
  'changed-cgroup': 'its process was moved to another cgroup',
  'changed-namespace': 'its process went to another namespace',
  'container-ended': 'its container ended',
  'pod-ended': 'its pod is gone',
  'pod-replaced': 'another pod is in the place of its own',
  'unit-ended': 'its unit stopped',
  'entry-removed': 'its entry was removed',
  'entry-changed': 'its entry gives another identity now',
  'selectors-changed': 'its process no longer is what the entry asks for',
  refused: 'the policy refuses it now',
  revoked: 'an operator revoked it',
  expired: 'all that was issued had expired, and nobody asked for more',
  gone: 'its process had ended while no agent ran',
  replaced: 'its process was another one, or ran another program, after a time in which no agent ran',
  rebooted: 'the machine was started anew',
  unverifiable: 'an agent that started could not tell whether its process still was the same',
};

/** What each kind is called, such that "… 4d01 issued" reads well. */
const KINDS: Readonly<Record<SvidKind, string>> = { x509: 'certificate', jwt: 'token', wit: 'WIT-SVID' };

// The longest of the types that come often.
const TYPE_WIDTH = 'reissue.allowed'.length;
// A certificate ends on a whole second, so that this much less is no shortening.
const SECOND_MS = 1000;

/** One record on a line: when, what kind, which process, which identity, and what it says. */
export function recordLine(record: AnyRecord): string {
  const id = 'spiffe_id' in record ? record.spiffe_id : undefined;
  const columns = [record.time, record.type.padEnd(TYPE_WIDTH), processText(record), id, sentenceOf(record)];
  return columns.filter((column) => column !== undefined && column !== '').join('  ');
}

/** What one record says, in words that need no other record. Which process and which identity it is about is not among them. */
export function sentenceOf(event: AnyRecord): string {
  switch (event.type) {
    case 'svid.issued':
    case 'svid.renewed':
      return issuedText(event);
    case 'svid.refused':
      return refusedText(event);
    case 'caller.refused':
      return `asked for a ${KINDS[event.kind]}: ${event.reason}${repeatedText(event)}`;
    case 'svid.revoked':
      return revokedText(event);
    case 'svid.validated':
    case 'svid.rejected':
      return validatedText(event);
    case 'lease.ended':
      return `lease ended: ${ENDS[event.reason] ?? event.reason}${event.detail === undefined ? '' : `; ${event.detail}`}`;
    case 'lease.adopted':
      return 'lease taken over from the agent before: its process still is the same';
    case 'reissue.barred':
      return `barred from entry ${event.entry}: ${event.reason}`;
    case 'reissue.allowed':
      return `allowed entry ${event.entry} again: ${event.reason}`;
    case 'crl.reserved':
      return `list numbers up to ${event.up_to} reserved`;
    case 'entries.changed':
      return `entries in force: ${event.count ?? 'some'}, digest ${event.digest}`;
    case 'policy.changed':
      return `policy in force: digest ${event.digest}`;
    case 'agent.started':
      return `agent ${event.version} of ${event.trust_domain} started, entries ${event.entries}, policy ${event.policy}`;
    case 'agent.stopped':
      return 'agent stopped in order';
    case 'agent.crashed':
      return `the agent before did not stop in order; its last record is ${event.last_seq} of ${event.last_time}`;
    case 'ledger.repaired':
      return `${event.removed_bytes} bytes of an unfinished record cut off ${event.segment}; nothing was delivered that hung on it`;
    case 'ledger.recovered':
      return `the ledger can be written again, which it could not since ${event.since}; refusals not recorded: ${event.refusals_lost}`;
    case 'checkpoint':
      return checkpointText(event);
    case 'segment':
      return `a new file, signed by ${event.key}`;
  }
}

/** Who it is about: number and program. Empty where it is about no process. */
function processText(event: AnyRecord): string {
  if ('instance' in event) return instanceText(event.instance);
  if ('caller' in event) return String(event.caller.pid);
  return 'pid' in event ? String(event.pid) : '';
}

function instanceText({ pid, executable }: InstanceRecord): string {
  return executable === undefined ? String(pid) : `${pid} ${basename(executable)}`;
}

function issuedText(event: SvidIssued): string {
  const { decision, lifetime_asked, lifetime_given, occasion, parent, rule } = event;
  const lifetime =
    lifetime_asked - lifetime_given < SECOND_MS
      ? formatDuration(lifetime_asked)
      : `${formatAge(lifetime_given)} of the ${formatDuration(lifetime_asked)} asked`;
  const verb = occasion === 'renewal' ? 'issued as a renewal' : 'issued';
  const after = parent === undefined ? '' : `, after ${parent}`;
  return `${subjectOf(event)} ${verb} for ${lifetime}, until ${event.expires_at} (rule ${rule}; decision ${decision}${after})`;
}

function refusedText(event: SvidRefused): string {
  const asked = event.lifetime_asked > 0 ? ` for ${formatDuration(event.lifetime_asked)}` : '';
  return `${subjectOf(event)} refused${asked}: ${event.reason} (rule ${event.rule}; decision ${event.decision})${repeatedText(event)}`;
}

function repeatedText({ repeated }: { readonly repeated?: number }): string {
  return repeated === undefined ? '' : `; ${repeated} times since the record before`;
}

/** `certificate 4d01`, `token j1 for ledger, mail`, `WIT-SVID j2`. What was refused has no number. */
function subjectOf(event: SvidIssued | SvidRefused): string {
  const { audiences = [], kind } = event;
  const id = event.type === 'svid.refused' ? undefined : (event.serial ?? event.jti);
  const whom = audiences.length === 0 ? [] : ['for', audiences.join(', ')];
  return [KINDS[kind], id, ...whom].filter((word) => word !== undefined).join(' ');
}

function revokedText({ cause, certificates, reason, tokens }: SvidRevoked): string {
  const revoked = [
    ...certificates.map(({ serial }) => `certificate ${serial}`),
    ...tokens.map(({ jti, kind }) => `${KINDS[kind ?? 'jwt']} ${jti}`),
  ];
  return `revoked as ${reason} (${cause}): ${revoked.length === 0 ? 'nothing was still valid' : revoked.join(', ')}`;
}

function validatedText({ audience, caller, jti, kind, reason, type }: SvidValidated): string {
  const outcome = type === 'svid.validated' ? 'found valid' : `REJECTED${reason === undefined ? '' : ` (${reason})`}`;
  const token = jti === undefined ? `a ${KINDS[kind]}` : `${KINDS[kind]} ${jti}`;
  const whom = audience === undefined ? '' : ` for ${audience}`;
  return `${token} ${outcome}${whom}, asked by process ${caller.pid} of uid ${caller.uid}`;
}

function checkpointText({ key, state }: Checkpoint): string {
  const { leases, revoked_certificates, revoked_tokens } = state;
  return `${leases.length} live leases, ${revoked_certificates.length} certificates and ${revoked_tokens.length} tokens revoked; signed by ${key}`;
}
