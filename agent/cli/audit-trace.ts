import { Command } from 'commander';
import { isMayflyError, MayflyError } from '../kernel/errors.ts';
import { parseSpiffeId } from '../kernel/spiffe-id.ts';
import type { InstanceRecord } from '../ledger/event.ts';
import type { AnyRecord, LeaseJson } from '../ledger/record.ts';
import type { LeaseTrace, TraceSubject } from '../ledger/trace.ts';
import { traceOf } from '../ledger/trace.ts';
import { parseSerial } from '../svid/serial.ts';
import type { PlaceOptions } from './audit-place.ts';
import { ledgerDirectory, withPlace } from './audit-place.ts';
import type { Invocation } from './invocation.ts';
import { invocationOf } from './invocation.ts';
import { fields } from './output.ts';
import { sentenceOf } from './record-text.ts';
import type { Terminal } from './terminal.ts';

const MAX_PID = 2 ** 31 - 1;

/** `mayfly audit trace` */
export function auditTraceCommand(terminal: Terminal): Command {
  return withPlace(new Command('trace'))
    .description(
      'Tell the whole story of an identity: who got it and by which decision, what was issued, renewed, used, and how it ended.',
    )
    .argument('<subject>', 'a serial, jti, pid, SPIFFE ID, decision, lease, container, pod or unit')
    .action((subject: string, _options: unknown, command: Command) => trace(invocationOf(command, terminal), subject));
}

async function trace(invocation: Invocation<PlaceOptions>, text: string): Promise<void> {
  const subjects = subjectsOf(text.trim());
  const directory = await ledgerDirectory(invocation);
  for (const subject of subjects) {
    const leases = traceOf(directory, subject);
    if (leases.length === 0) continue;
    const value = { subject: subject.kind, leases: leases.map(traceJson) };
    invocation.output.result(value, () => storyLines(leases));
    return;
  }
  throw new MayflyError(
    'NOT_FOUND',
    `the ledger in ${directory} knows nothing of ${JSON.stringify(text)}; ask for a serial, jti, pid, SPIFFE ID, decision, lease, container, pod or unit, as 'mayfly leases' and 'mayfly audit tail' show them`,
  );
}

/** All that a text can mean, likeliest first: serials and token ids look alike, and some serials have no letter. */
function subjectsOf(text: string): readonly TraceSubject[] {
  if (text.startsWith('spiffe:')) return [{ kind: 'spiffe-id', spiffeId: spiffeIdIn(text) }];
  const pid = /^[1-9]\d{0,9}$/.test(text) ? Number(text) : Number.NaN;
  const serial = serialIn(text);
  return [
    ...(pid <= MAX_PID ? [{ kind: 'pid', pid } as const] : []),
    ...(serial === undefined ? [] : [{ kind: 'serial', serial } as const]),
    { kind: 'jti', jti: text },
    { kind: 'decision', decision: text },
    { kind: 'lease', lease: text },
    { kind: 'place', place: text },
  ];
}

function spiffeIdIn(text: string): string {
  try {
    return parseSpiffeId(text);
  } catch (error) {
    if (!isMayflyError(error)) throw error;
    throw new MayflyError('INVALID_USAGE', error.message, { cause: error });
  }
}

function serialIn(text: string): string | undefined {
  try {
    return parseSerial(text.trim());
  } catch (error) {
    if (isMayflyError(error)) return undefined;
    throw error;
  }
}

function traceJson({ lease, known, records }: LeaseTrace) {
  return { lease, known: known ?? null, records: records.map(({ record }) => record) };
}

/** One story after the other. Whose it is stands before the first of several that are of one process: it may have asked often. */
function storyLines(leases: readonly LeaseTrace[]): string[] {
  let before = '';
  return leases.flatMap((lease, index) => {
    const whose = whoseLines(lease);
    const same = whose.join('\n') === before;
    before = whose.join('\n');
    const head = same ? ['the same process, of the same entry'] : whose;
    return [...(index === 0 ? [] : ['']), ...head, `  lease ${lease.lease}`, ...happenedLines(lease)];
  });
}

function whoseLines({ known, records }: LeaseTrace): string[] {
  const subject = known ?? records.map(({ record }) => record).find(hasSubject);
  return subject === undefined ? [] : subjectLines(subject);
}

function happenedLines({ known, records }: LeaseTrace): string[] {
  const events = records.map(({ record }) => record);
  return [
    ...(known === undefined ? [] : knownLines(known)),
    ...events.map((event) => `${event.time}  ${sentenceOf(event)}`),
    ...(goesOn(known, events) ? ['the ledger knows of no end'] : []),
  ];
}

/** What was only ever refused has nothing that could end. */
function goesOn(known: LeaseJson | undefined, events: readonly AnyRecord[]): boolean {
  const opened = known !== undefined || events.some(({ type }) => type === 'svid.issued');
  return opened && !events.some(({ type }) => type === 'lease.ended');
}

/** What an identity's story begins with. */
interface Subject {
  readonly instance: InstanceRecord;
  readonly entry: string;
  readonly owner?: string;
  readonly spiffe_id: string;
  readonly selectors?: readonly string[];
  readonly selectors_left_out?: number;
}

function hasSubject(record: AnyRecord): record is AnyRecord & Subject {
  return 'instance' in record && 'entry' in record;
}

function subjectLines({
  entry,
  instance,
  owner,
  selectors = [],
  selectors_left_out: leftOut = 0,
  spiffe_id,
}: Subject): string[] {
  const { cgroup, container, executable, gid, pid, pod, uid, unit } = instance;
  return [
    spiffe_id,
    ...fields([
      ['process', `${pid}${executable === undefined ? '' : `, ${executable}`}`],
      ['user', `uid ${uid}, gid ${gid}`],
      // One for each hierarchy.
      // The hierarchy of version 2 has no name.
      ['cgroup', cgroup?.replaceAll(/^:/gm, '').replaceAll('\n', ', ')],
      ['container', container && `${container.engine} ${container.id}${startText(container.started)}`],
      ['pod', pod && `${pod.namespace}/${pod.name}, uid ${pod.uid}`],
      ['unit', unit && `${unit.id}, invocation ${unit.invocation}`],
      ['attested as', [...selectors, ...(leftOut === 0 ? [] : [`and ${leftOut} more`])].join(', ')],
      ['entry', entry],
      ['owner', owner],
    ]),
  ];
}

function startText(started: string | undefined): string {
  return started === undefined ? '' : `, started ${started}`;
}

/** What a checkpoint keeps of a lease when the records of its beginning are gone. */
function knownLines({ certificates, decision, opened_at, tokens }: LeaseJson): string[] {
  const until = (name: string, id: string, expires: string) => `  ${name} ${id}, until ${expires}`;
  return [
    `${opened_at}  opened by decision ${decision}; the records of its beginning are no longer kept, a later checkpoint knew of`,
    ...certificates.map(({ serial, expires_at }) => until('certificate', serial, expires_at)),
    ...tokens.map(({ jti, expires_at }) => until('token', jti, expires_at)),
  ];
}
