import { timestampDate } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import type { ListEntriesResponse_Entry as Entry } from '../gen/admin_pb.js';
import { Admin, ListEntriesResponseSchema } from '../gen/admin_pb.js';
import { formatDuration } from '../kernel/duration.ts';
import { connectAdmin } from './client.ts';
import { invocationOf } from './invocation.ts';
import { messageJson } from './message-json.ts';
import { formatUntil } from './moment.ts';
import { fields } from './output.ts';
import type { Terminal } from './terminal.ts';

/** `mayfly entries` */
export function entriesCommand(terminal: Terminal): Command {
  return new Command('entries')
    .description('Show the entries in force: which process gets which identity.')
    .action(async (_options: unknown, command: Command) => {
      const invocation = invocationOf(command, terminal);
      using client = connectAdmin(invocation);
      const answer = await client.unary(Admin.method.listEntries, {});
      invocation.output.result(messageJson(ListEntriesResponseSchema, answer), () => {
        if (answer.entries.length === 0) return ['no entries: no process gets an identity'];
        return answer.entries.flatMap((entry) => entryLines(entry, terminal.clock.now()));
      });
    });
}

function entryLines(entry: Entry, now: number): string[] {
  return [
    `${entry.id}  ${entry.spiffeId}`,
    ...fields([
      ['selectors', entry.selectors.join(', ')],
      ['owner', entry.owner],
      ['X.509 lifetime', lifetime(entry.x509SvidTtl)],
      ['JWT lifetime', lifetime(entry.jwtSvidTtl)],
      ['WIT lifetime', lifetime(entry.witSvidTtl)],
      ['DNS names', entry.dnsNames.join(', ')],
      ['hint', entry.hint],
      ['federates with', entry.federatesWith.join(', ')],
      ['expires', entry.expiresAt === undefined ? '' : formatUntil(timestampDate(entry.expiresAt), now)],
      ['from', entry.source],
    ]),
  ];
}

/** Nothing where the entry leaves it to the configuration. */
function lifetime(seconds: number): string {
  return seconds === 0 ? '' : formatDuration(seconds * 1000);
}
