import { basename } from 'node:path';
import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import type { ListLeasesResponse_Lease as Lease, ListLeasesResponse } from '../gen/admin_pb.js';
import { Admin, ListLeasesResponseSchema } from '../gen/admin_pb.js';
import { sleep } from '../kernel/sleep.ts';
import { connectAdmin } from './client.ts';
import type { Invocation } from './invocation.ts';
import { invocationOf } from './invocation.ts';
import { messageJson } from './message-json.ts';
import { formatAge, formatLeft } from './moment.ts';
import { table } from './output.ts';
import { drawScreen } from './screen.ts';
import type { Terminal } from './terminal.ts';

interface LeasesOptions {
  readonly watch?: true;
}

const REFRESH_MS = 1000;
// As engines show the ids of containers.
const SHORT_ID = 12;

/** `mayfly leases` */
export function leasesCommand(terminal: Terminal): Command {
  return new Command('leases')
    .description('Show which living processes hold which identities, oldest first.')
    .option('--watch', 'show it anew each second, until interrupted')
    .action(async (_options: unknown, command: Command) => {
      const invocation = invocationOf<LeasesOptions>(command, terminal);
      using client = connectAdmin(invocation);
      const ask = () => client.unary(Admin.method.listLeases, {});
      if (invocation.options.watch === true) await watchLeases(invocation, ask);
      else showLeases(invocation, await ask());
    });
}

function showLeases({ output, terminal }: Invocation, answer: ListLeasesResponse): void {
  output.result(messageJson(ListLeasesResponseSchema, answer), () => leaseLines(answer.leases, terminal.clock.now()));
}

async function watchLeases(invocation: Invocation, ask: () => Promise<ListLeasesResponse>): Promise<void> {
  const { output, terminal } = invocation;
  using interruption = terminal.interruption();
  const { signal } = interruption;
  while (!signal.aborted) {
    const answer = await ask();
    if (output.json || terminal.stdout.isTTY !== true) showLeases(invocation, answer);
    else drawScreen(terminal.stdout, leaseLines(answer.leases, terminal.clock.now()));
    await sleep(REFRESH_MS, terminal.clock, signal);
  }
}

function leaseLines(leases: readonly Lease[], now: number): string[] {
  if (leases.length === 0) return ['no leases: no living process holds an identity'];
  // The last columns are for those that have something in them.
  const withWit = leases.some(({ wit }) => wit !== '');
  const withAbode = leases.some((lease) => abodeText(lease) !== '');
  const heads = ['PID', 'PROGRAM', 'SPIFFE ID', 'ENTRY', 'AGE', 'EXPIRES', 'DELIVERED', 'SERIAL'];
  const cells = (wit: string, abode: string) => [
    ...(withWit ? [wit === '' ? '-' : wit] : []),
    ...(withAbode ? [abode === '' ? '-' : abode] : []),
  ];
  const rows = leases
    .toSorted((a, b) => millisecondsOf(a.createdAt) - millisecondsOf(b.createdAt) || a.pid - b.pid)
    .map((lease) => [...leaseRow(lease, now), ...cells(lease.wit, abodeText(lease))]);
  const failures = leases.filter(({ renewalError }) => renewalError !== '');
  return [
    ...table([...heads, ...cells('WIT', 'LIVES IN')], rows),
    ...failures.map(({ pid, spiffeId, renewalError }) => `not renewed: ${spiffeId} of process ${pid}: ${renewalError}`),
  ];
}

function leaseRow(lease: Lease, now: number): readonly string[] {
  const { createdAt, entryId, executable, expiresAt, pid, serial, spiffeId } = lease;
  return [
    String(pid),
    executable === '' ? '-' : basename(executable),
    spiffeId,
    entryId,
    createdAt === undefined ? '-' : formatAge(now - millisecondsOf(createdAt)),
    expiresAt === undefined ? '-' : formatLeft(timestampDate(expiresAt), now),
    deliveryText(lease, now),
    serial === '' ? '-' : serial,
  ];
}

/** `pod shop/pay, container 5f0c2a…`; empty where nothing was found out. */
function abodeText({ container, pod, unit }: Lease): string {
  return [
    pod === undefined ? [] : `pod ${pod.namespace}/${pod.name}`,
    container === undefined ? [] : `${container.engine} ${container.id.slice(0, SHORT_ID)}`,
    unit === undefined ? [] : unit.id,
  ]
    .flat()
    .join(', ');
}

/** What was taken over was delivered by an agent before, and nobody knows when. */
function deliveryText({ adopted, deliveredAt }: Lease, now: number): string {
  if (deliveredAt === undefined) return adopted ? 'adopted' : '-';
  return `${formatAge(now - millisecondsOf(deliveredAt))} ago${adopted ? ', adopted' : ''}`;
}

function millisecondsOf(time: Timestamp | undefined): number {
  return time === undefined ? 0 : timestampDate(time).getTime();
}
