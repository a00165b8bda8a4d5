import { Argument, Command, Option } from 'commander';
import type { AttestResponse } from '../gen/admin_pb.js';
import { Admin, AttestResponseSchema } from '../gen/admin_pb.js';
import { connectAdmin } from './client.ts';
import type { Invocation } from './invocation.ts';
import { invocationOf } from './invocation.ts';
import { messageJson } from './message-json.ts';
import type { FieldRow } from './output.ts';
import { AnsweredNo, fields } from './output.ts';
import { optionOf } from './program.ts';
import { parsePid } from './target.ts';
import type { Terminal } from './terminal.ts';

interface AttestOptions {
  readonly entry?: string;
}

/** `mayfly attest` */
export function attestCommand(terminal: Terminal): Command {
  return new Command('attest')
    .description(
      'Show what the agent finds a process to be, what it lives in, and which identities it would get. Nothing is issued or recorded.',
    )
    .addArgument(new Argument('<pid>', 'the process, by its number where the agent runs').argParser(optionOf(parsePid)))
    .addOption(new Option('--entry <id>', 'say why it does not get this entry; the exit code is 1 where it does not'))
    .action((pid: number, _options: unknown, command: Command) =>
      attest(invocationOf<AttestOptions>(command, terminal), pid),
    );
}

async function attest(invocation: Invocation<AttestOptions>, pid: number): Promise<void> {
  const { entry: entryId = '' } = invocation.options;
  using client = connectAdmin(invocation);
  const answer = await client.unary(Admin.method.attest, { pid, entryId });
  invocation.output.result(messageJson(AttestResponseSchema, answer), () => attestLines(answer, entryId));
  const isBarred = answer.entries.some(({ barred, id }) => barred && id === entryId);
  if (answer.failure !== '' || answer.whyNot.length > 0 || isBarred) throw new AnsweredNo();
}

function attestLines(answer: AttestResponse, entryId: string): string[] {
  const { entries, executable, failure, gid, pid, refused, selectors, uid, whyNot } = answer;
  return [
    `process ${pid}, uid ${uid}, gid ${gid}${executable === '' ? '' : `, ${executable}`}`,
    ...(failure === '' ? [] : [`it cannot be attested, and gets UNAVAILABLE: ${failure}`]),
    ...fields([...column('is', selectors.toSorted()), ...placeRows(answer)]),
    ...entries.flatMap(({ barred, dnsNames, hint, id, spiffeId }) => [
      barred ? `would get ${spiffeId}, but is barred from it by an operator` : `gets ${spiffeId}`,
      ...fields([
        ['entry', id],
        ['DNS names', dnsNames.join(', ')],
        ['hint', hint],
      ]),
    ]),
    ...(failure === '' && entries.length === 0 ? ['gets nothing: no entry matches'] : []),
    ...refused.map((why) => `gets nothing of a template: ${why}`),
    ...whyNot.map((why) => `not ${entryId}: it ${why}`),
  ];
}

function placeRows({ container, pod, unit }: AttestResponse): readonly FieldRow[] {
  return [
    ['container', container && `${container.engine} ${container.id}`],
    ['started', container?.started],
    ['pod', pod && `${pod.namespace}/${pod.name} (${pod.uid})`],
    ['unit', unit && `${unit.id} (${unit.invocation})`],
  ];
}

/** Several values under one name. */
function column(name: string, values: readonly string[]): readonly FieldRow[] {
  return values.map((value, index) => [index === 0 ? name : '', value]);
}
