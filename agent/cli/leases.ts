import { basename } from 'node:path';
import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import { isPlace } from '../attest/context.ts';
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
import type { TargetOptions } from './target.ts';
import { entryOption, pidOption, placeOption, spiffeIdOption } from './target.ts';
import type { Terminal } from './terminal.ts';

interface LeasesOptions extends LeaseFilter {
  readonly watch?: true;
}

/** Which leases are meant: those of which all that is given is true. */
type LeaseFilter = Pick<TargetOptions, 'pid' | 'spiffeId' | 'entry' | 'in'>;

const REFRESH_MS = 1000;
// As engines show the ids of containers.
const SHORT_ID = 12;

/** `mayfly leases` */
export function leasesCommand(terminal: Terminal): Command {
  return new Command('leases')
    .description('Show which living processes hold which identities, oldest first.')
    .addOption(pidOption('show'))
    .addOption(spiffeIdOption('show'))
    .addOption(entryOption('show'))
    .addOption(placeOption('show'))
    .option('--watch', 'show it anew each second, until interrupted')
    .action(async (_options: unknown, command: Command) => {
      const invocation = invocationOf<LeasesOptions>(command, terminal);
      using client = connectAdmin(invocation);
      const ask = async () => {
        const answer = await client.unary(Admin.method.listLeases, {});
        return { ...answer, leases: answer.leases.filter((lease) => isMeant(lease, invocation.options)) };
      };
      if (invocation.options.watch === true) await watchLeases(invocation, ask);
      else showLeases(invocation, await ask());
    });
}

function isMeant(lease: Lease, { entry, in: place, pid, spiffeId }: LeaseFilter): boolean {
  return (
    (pid === undefined || lease.pid === pid) &&
    (spiffeId === undefined || lease.spiffeId === spiffeId) &&
    (entry === undefined || lease.entryId === entry) &&
    (place === undefined || isPlace(place, lease))
  );
}

function isFiltered({ entry, in: place, pid, spiffeId }: LeaseFilter): boolean {
  return [entry, place, pid, spiffeId].some((each) => each !== undefined);
}

function showLeases(invocation: Invocation<LeasesOptions>, answer: ListLeasesResponse): void {
  invocation.output.result(messageJson(ListLeasesResponseSchema, answer), () => leaseLines(answer.leases, invocation));
}

async function watchLeases(
  invocation: Invocation<LeasesOptions>,
  ask: () => Promise<ListLeasesResponse>,
): Promise<void> {
  const { output, terminal } = invocation;
  using interruption = terminal.interruption();
  const { signal } = interruption;
  while (!signal.aborted) {
    const answer = await ask();
    if (output.json || terminal.stdout.isTTY !== true) showLeases(invocation, answer);
    else drawScreen(terminal.stdout, leaseLines(answer.leases, invocation));
    await sleep(REFRESH_MS, terminal.clock, signal);
  }
}

function leaseLines(leases: readonly Lease[], { options, terminal }: Invocation<LeasesOptions>): string[] {
  if (leases.length === 0) {
    return [isFiltered(options) ? 'no leases like that' : 'no leases: no living process holds an identity'];
  }
  const now = terminal.clock.now();
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
