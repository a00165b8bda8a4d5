import { Command } from 'commander';
import { Admin } from '../gen/admin_pb.js';
import { connectAdmin } from './client.ts';
import { invocationOf } from './invocation.ts';
import { AnsweredNo } from './output.ts';
import type { Terminal } from './terminal.ts';

/** `mayfly reload` */
export function reloadCommand(terminal: Terminal): Command {
  return new Command('reload')
    .description(
      'Have the agent read its configuration, entries and bundles again. What cannot be loaded leaves the last good state.',
    )
    .action(async (_options: unknown, command: Command) => {
      const invocation = invocationOf(command, terminal);
      using client = connectAdmin(invocation);
      const { errors } = await client.unary(Admin.method.reload, {});
      invocation.output.result({ reloaded: errors.length === 0, errors }, () =>
        errors.length === 0 ? ['all is loaded'] : errors.flatMap((error) => error.split('\n')),
      );
      if (errors.length > 0) throw new AnsweredNo();
    });
}
