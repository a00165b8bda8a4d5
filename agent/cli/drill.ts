import { Command, Option } from 'commander';
import type {
  DrillResponse_Drilled as Drilled,
  DrillResponse,
  DrillResponse_Subscriber as Subscriber,
} from '../gen/admin_pb.js';
import { Admin, DrillResponseSchema } from '../gen/admin_pb.js';
import { formatDuration, parseDuration } from '../kernel/duration.ts';
import { MayflyError } from '../kernel/errors.ts';
import { connectAdmin } from './client.ts';
import type { Invocation } from './invocation.ts';
import { invocationOf } from './invocation.ts';
import { messageJson } from './message-json.ts';
import { AnsweredNo, table } from './output.ts';
import { optionOf } from './program.ts';
import type { TargetOptions } from './target.ts';
import { entryOption, pidOption, targetOf } from './target.ts';
import type { Terminal } from './terminal.ts';

interface DrillOptions extends TargetOptions {
  readonly revoke?: true;
  /** Milliseconds. */
  readonly wait: number;
}

const WAIT_MS = 5_000;
const MAX_WAIT_MS = 3_600_000;

/** `mayfly drill` */
export function drillCommand(terminal: Terminal): Command {
  return new Command('drill')
    .description(
      'Renew certificates and WIT-SVIDs on purpose, and show how long each subscriber took to be told. The exit code is 1 when one was not told in time.',
    )
    .addOption(pidOption('drill with'))
    .addOption(entryOption('drill with'))
    .option('--revoke', 'revoke them instead; their processes get new ones at once')
    .addOption(
      new Option('--wait <duration>', 'how long to wait for subscribers')
        .argParser(optionOf(parseWait))
        .default(WAIT_MS, formatDuration(WAIT_MS)),
    )
    .action((_options: unknown, command: Command) => drill(invocationOf<DrillOptions>(command, terminal)));
}

async function drill(invocation: Invocation<DrillOptions>): Promise<void> {
  const { options, output } = invocation;
  const { revoke = false, wait: waitMs } = options;
  const target = targetOf(options, '--pid, --entry');
  if (target.case !== 'pid' && target.case !== 'entryId') throw new MayflyError('INTERNAL', 'a target of no drill');
  using client = connectAdmin(invocation, waitMs);
  const answer = await client.unary(Admin.method.drill, { target, revoke, waitMs });
  const subscribers = answer.subscribers.toSorted(slowestLast);
  output.result(messageJson(DrillResponseSchema, { ...answer, subscribers }), () =>
    drillLines({ ...answer, subscribers }, waitMs),
  );
  if (answer.leases.length === 0 || subscribers.some(({ told }) => !told)) throw new AnsweredNo();
}

function parseWait(text: string): number {
  const ms = parseDuration(text);
  if (ms === 0 || ms > MAX_WAIT_MS) throw new MayflyError('INVALID_DURATION', 'wait from 1ms up to 1h');
  return ms;
}

/** Those that were not told are slower than all. */
function slowestLast(a: Subscriber, b: Subscriber): number {
  return Number(b.told) - Number(a.told) || a.ms - b.ms || a.pid - b.pid;
}

function drillLines({ leases, subscribers }: DrillResponse, waitMs: number): string[] {
  if (leases.length === 0) return ["nothing to drill with: 'mayfly leases' shows which processes hold an identity"];
  return [
    ...table(['PID', 'SPIFFE ID', 'OLD SERIAL', 'NEW SERIAL', 'ISSUED IN'], leases.map(drilledRow)),
    '',
    ...(subscribers.length === 0
      ? ['nobody is subscribed to anything that this changes']
      : [
          ...table(
            ['PID', 'CALL', 'OF', 'TOLD AFTER'],
            subscribers.map((subscriber) => subscriberRow(subscriber, waitMs)),
          ),
          toldText(subscribers),
        ]),
  ];
}

function drilledRow(drilled: Drilled): readonly string[] {
  const { issuedMs, pid, spiffeId } = drilled;
  const [before, after] =
    drilled.oldJti === ''
      ? [drilled.oldSerial, drilled.newSerial]
      : [`WIT ${drilled.oldJti}`, drilled.newJti === '' ? '' : `WIT ${drilled.newJti}`];
  const issued = after === '' ? ['none asked for', '-'] : [after, milliseconds(issuedMs)];
  return [String(pid), spiffeId, before === '' ? '-' : before, ...issued];
}

function subscriberRow({ pid, method, what, told, ms }: Subscriber, waitMs: number): readonly string[] {
  return [String(pid), method, what, told ? milliseconds(ms) : `NOT TOLD within ${formatDuration(waitMs)}`];
}

function toldText(subscribers: readonly Subscriber[]): string {
  const told = subscribers.filter((subscriber) => subscriber.told);
  const slowest = told.at(-1);
  const after = slowest === undefined ? '' : `, the slowest after ${milliseconds(slowest.ms)}`;
  return `told: ${told.length} of ${subscribers.length}${after}`;
}

function milliseconds(ms: number): string {
  return `${ms.toFixed(1)} ms`;
}
