import { timestampDate } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import type { ListLeasesResponse_Lease as Lease } from '../gen/admin_pb.js';
import { Admin, ListLeasesResponseSchema } from '../gen/admin_pb.js';
import { connectAdmin } from './client.ts';
import { invocationOf } from './invocation.ts';
import { messageJson } from './message-json.ts';
import { formatLeft } from './moment.ts';
import { table } from './output.ts';
import type { Terminal } from './terminal.ts';

/** `mayfly leases` */
export function leasesCommand(terminal: Terminal): Command {
  return new Command('leases')
    .description('Show which living processes hold which identities.')
    .action(async (_options: unknown, command: Command) => {
      const invocation = invocationOf(command, terminal);
      using client = connectAdmin(invocation);
      const answer = await client.unary(Admin.method.listLeases, {});
      invocation.output.result(messageJson(ListLeasesResponseSchema, answer), () => {
        if (answer.leases.length === 0) return ['no leases: no living process holds an identity'];
        return leaseLines(answer.leases, terminal.clock.now());
      });
    });
}

function leaseLines(leases: readonly Lease[], now: number): string[] {
  const heads = ['PID', 'UID', 'SPIFFE ID', 'ENTRY', 'EXPIRES', 'TOKENS', 'ROTATIONS', 'SERIAL'];
  const rows = leases.map((lease) => [
    String(lease.pid),
    String(lease.uid),
    lease.spiffeId,
    lease.entryId,
    lease.expiresAt === undefined ? '-' : formatLeft(timestampDate(lease.expiresAt), now),
    String(lease.tokens),
    String(lease.rotations),
    lease.serial === '' ? '-' : lease.serial,
  ]);
  const failures = leases.filter(({ renewalError }) => renewalError !== '');
  return [
    ...table(heads, rows),
    ...failures.map(({ pid, spiffeId, renewalError }) => `not renewed: ${spiffeId} of process ${pid}: ${renewalError}`),
  ];
}
