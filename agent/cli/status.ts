import { timestampDate } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import type {
  GetStatusResponse_Attestor as Attestor,
  GetStatusResponse,
  GetStatusResponse_Authority_Key as Key,
  GetStatusResponse_Peer as Peer,
  GetStatusResponse_Source as Source,
} from '../gen/admin_pb.js';
import { Admin, GetStatusResponseSchema } from '../gen/admin_pb.js';
import { formatDuration } from '../kernel/duration.ts';
import { connectAdmin } from './client.ts';
import { invocationOf } from './invocation.ts';
import { messageJson } from './message-json.ts';
import { formatTime, formatUntil } from './moment.ts';
import { fields } from './output.ts';
import { ledgerRows } from './status-ledger.ts';
import { revocationRows } from './status-revocation.ts';
import { sdsRows } from './status-sds.ts';
import type { Terminal } from './terminal.ts';

/** `mayfly status` */
export function statusCommand(terminal: Terminal): Command {
  return new Command('status')
    .description('Show what the agent is and how it does.')
    .action(async (_options: unknown, command: Command) => {
      const invocation = invocationOf(command, terminal);
      using client = connectAdmin(invocation);
      const status = await client.unary(Admin.method.getStatus, {});
      invocation.output.result(messageJson(GetStatusResponseSchema, status), () =>
        statusLines(status, terminal.clock.now()),
      );
    });
}

function statusLines(status: GetStatusResponse, now: number): string[] {
  const { peer, authority, leases, resources, startedAt } = status;
  const since = startedAt === undefined ? undefined : timestampDate(startedAt);
  return [
    `mayfly ${status.version}, process ${status.pid}, ${status.serving ? 'serving' : 'NOT SERVING'}`,
    ...status.warnings.map((warning) => `  ! ${warning}`),
    ...fields([
      ['trust domain', status.trustDomain],
      ['socket', [status.socket, ...status.moreSockets].join(', ')],
      ['started', since && `${formatTime(since)}, ${formatDuration(wholeSeconds(now - since.getTime()))} ago`],
      [
        'callers',
        peer &&
          `${peer.connections} connections of ${peer.instances} processes, ${peer.streams} streams, proven by ${peer.proof}`,
      ],
      ['refused', peer && counts(peer.refused)],
      ['watch', peer && watchText(peer)],
      [
        'leases',
        leases &&
          `${leases.live} live; issued ${leases.x509Issued} X.509, ${leases.jwtIssued} JWT, ${leases.witIssued} WIT; refused ${leases.refused}`,
      ],
      ['ended', leases && counts(leases.ended)],
      ['renewals', leases && leases.failed > 0n ? `${leases.failed} failed` : undefined],
      ...sdsRows(status.sds),
      ...revocationRows(status.revocation, now),
      ...ledgerRows(status.ledger),
      ['authority', authority?.type],
      ...(authority?.keys ?? []).map((key) => ['', keyText(key, now)] as const),
      ...status.sources.map((source) => [source.name, sourceText(source)] as const),
      ...status.attestors.map((attestor) => [`attestor ${attestor.name}`, attestorText(attestor)] as const),
      [
        'resources',
        resources &&
          `${Math.round(Number(resources.residentBytes) / 1024 ** 2)} MiB, ${resources.descriptors} descriptors`,
      ],
    ]),
  ];
}

/** How it is noticed that a process has become another. */
function watchText({ watch, watchReason, lookPercent, watchLosses }: Peer): string {
  if (watch === '') return '';
  const why = watchReason === '' ? '' : ` (${watchReason})`;
  const losses = watchLosses === 0n ? '' : `, messages lost ${watchLosses} times and made good`;
  return `${watch}${why}, looking takes ${lookPercent.toFixed(1)} % of the time${losses}`;
}

function keyText({ use, id, state, notAfter }: Key, now: number): string {
  const until = notAfter === undefined ? '' : `, until ${formatUntil(timestampDate(notAfter), now)}`;
  return `${use} ${id} (${state})${until}`;
}

function sourceText({ count, generation, loadedAt, error, failedAt }: Source): string {
  const loaded = loadedAt === undefined ? 'never loaded' : `loaded ${formatTime(timestampDate(loadedAt))}`;
  const good = `${count}, generation ${generation}, ${loaded}`;
  if (error === '') return good;
  const failed = failedAt === undefined ? '' : ` since ${formatTime(timestampDate(failedAt))}`;
  return `${good}; the newest cannot be loaded${failed}: ${error}`;
}

function attestorText({ attested, failed, lastFailure, lastMs, shortcomings }: Attestor): string {
  const failures = lastFailure === '' ? `${failed} failed` : `${failed} failed (last: ${lastFailure})`;
  return [`${attested} attested, ${failures}, last in ${lastMs.toFixed(1)} ms`, ...shortcomings].join('; ');
}

function counts(byReason: Readonly<Record<string, bigint>>): string {
  return Object.entries(byReason)
    .filter(([, count]) => count > 0n)
    .map(([reason, count]) => `${count} ${reason}`)
    .join(', ');
}

function wholeSeconds(ms: number): number {
  return Math.trunc(ms / 1000) * 1000;
}
