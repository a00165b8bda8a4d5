import { Command } from 'commander';
import { Health, HealthCheckResponse_ServingStatus as ServingStatus } from '../gen/health_pb.js';
import { connectApi } from './client.ts';
import { invocationOf } from './invocation.ts';
import { AnsweredNo } from './output.ts';
import type { Terminal } from './terminal.ts';

// Probes come often, and an agent that needs longer to say that it is well is not.
const TIMEOUT_MS = 3_000;

/** `mayfly healthcheck` */
export function healthcheckCommand(terminal: Terminal): Command {
  return new Command('healthcheck')
    .description(
      'Ask the agent whether it serves, for probes: the exit code is 0 when it does, else 1. Waits three seconds at most.',
    )
    .action(async (_options: unknown, command: Command) => {
      const invocation = invocationOf(command, terminal);
      using client = connectApi(invocation, TIMEOUT_MS);
      const { status } = await client.unary(Health.method.check, {});
      const serving = status === ServingStatus.SERVING;
      invocation.output.result({ serving }, () => [serving ? 'serving' : 'not serving']);
      if (!serving) throw new AnsweredNo();
    });
}
