import { Command } from 'commander';
import { SpiffeWorkloadAPI } from '../gen/workload_pb.js';
import { parseSpiffeId } from '../kernel/spiffe-id.ts';
import type { AgentClient } from './client.ts';
import { connectApi } from './client.ts';
import { follow } from './follow.ts';
import type { Invocation } from './invocation.ts';
import { invocationOf } from './invocation.ts';
import { optionOf } from './program.ts';
import { SvidFiles } from './svid-files.ts';
import type { Terminal } from './terminal.ts';
import type { WitIdentities, WitIdentity } from './wit-identity.ts';
import { readWitIdentities, WIT_FILES, witJson, witLines } from './wit-identity.ts';

interface FetchOptions {
  readonly spiffeId?: string;
  readonly write?: string;
  readonly hold?: boolean;
}

/** `mayfly fetch wit` */
export function fetchWitCommand(terminal: Terminal): Command {
  return new Command('wit')
    .summary('a WIT-SVID')
    .description(
      'Ask for a WIT-SVID and show it. The token alone proves nothing; whoever presents it proves that they have its key. Private keys are never printed: --write puts them into a file that only you can read.',
    )
    .option('--spiffe-id <id>', 'which of several identities (default: all)', optionOf(parseSpiffeId))
    .option('--write <dir>', 'write wit_svid.jwt and wit_svid_key.jwk of the first identity into a directory')
    .option('--hold', 'keep the identity, and the files fresh, until this command is interrupted; then remove them')
    .action((_options: unknown, command: Command) => fetchWit(invocationOf<FetchOptions>(command, terminal)));
}

async function fetchWit(invocation: Invocation<FetchOptions>): Promise<void> {
  const { options, output } = invocation;
  const files = options.write === undefined ? undefined : SvidFiles.open(options.write, WIT_FILES);
  using client = connectApi(invocation);
  if (options.hold === true) {
    await hold(invocation, client, files);
    return;
  }
  const identities = readWitIdentities(
    await client.first(SpiffeWorkloadAPI.method.fetchWITSVID, { spiffeId: options.spiffeId ?? '' }),
  );
  files?.write(identities[0]);
  show(invocation, identities);
  output.notice('this identity belongs to this process, which ends now; keep one with --hold');
}

/** Until it is interrupted, across restarts of the agent. The files are there as long as the identity is. */
async function hold(
  invocation: Invocation<FetchOptions>,
  client: AgentClient,
  files: SvidFiles<WitIdentity> | undefined,
): Promise<void> {
  const { options, output, terminal } = invocation;
  const { clock, random } = terminal;
  using interruption = terminal.interruption();
  const request = { spiffeId: options.spiffeId ?? '' };
  const open = (signal: AbortSignal) => client.stream(SpiffeWorkloadAPI.method.fetchWITSVID, request, signal);
  let told: string | undefined;
  try {
    for await (const event of follow(open, { clock, random, signal: interruption.signal, patient: false })) {
      if (event.kind === 'update') {
        told = undefined;
        const identities = readWitIdentities(event.update);
        files?.write(identities[0]);
        show(invocation, identities);
        continue;
      }
      if (event.kind === 'withdrawn') files?.wipe();
      // Once, not at every attempt.
      if (event.error.message !== told) output.notice(`${event.error.message}; asking again until there is an answer`);
      told = event.error.message;
    }
  } finally {
    files?.wipe();
  }
}

function show({ options, output, terminal }: Invocation<FetchOptions>, identities: WitIdentities): void {
  const now = terminal.clock.now();
  output.result({ svids: identities.map(witJson) }, () => identities.flatMap((identity) => witLines(identity, now)));
  if (options.write === undefined) return;
  const [first, ...others] = identities;
  const which = others.length === 0 ? '' : ` of ${first.spiffeId}, the first of ${others.length + 1} identities,`;
  output.notice(`wit_svid.jwt and wit_svid_key.jwk${which} are in ${options.write}`);
}
