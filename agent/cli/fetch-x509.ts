import { Command } from 'commander';
import { SpiffeWorkloadAPI } from '../gen/workload_pb.js';
import { connectApi } from './client.ts';
import type { Invocation } from './invocation.ts';
import { invocationOf } from './invocation.ts';
import { keepX509, writeFiles } from './keep.ts';
import { SvidFiles, X509_FILES } from './svid-files.ts';
import type { Terminal } from './terminal.ts';
import { reportUpdate } from './watch.ts';
import type { X509Context } from './x509-identity.ts';
import { forgetKeys, readX509Context } from './x509-identity.ts';
import { contextJson, identityLines } from './x509-text.ts';

interface FetchOptions {
  readonly write?: string;
  readonly hold?: boolean;
}

/** `mayfly fetch x509` */
export function fetchX509Command(terminal: Terminal): Command {
  return new Command('x509')
    .summary('an X.509-SVID')
    .description(
      'Ask for an X.509-SVID and show it. Private keys are never printed: --write puts them into a file that only you can read.',
    )
    .option(
      '--write <dir>',
      'write svid.pem, key.pem and bundle.pem of the first identity into a directory, and the revocation lists in crl.pem',
    )
    .option('--hold', 'keep the identity, and the files fresh, until this command is interrupted; then remove them')
    .action((_options: unknown, command: Command) => fetchX509(invocationOf<FetchOptions>(command, terminal)));
}

async function fetchX509(invocation: Invocation<FetchOptions>): Promise<void> {
  const { options, output } = invocation;
  if (options.hold === true) {
    await keepX509(invocation, false, (context, before) => {
      if (before !== undefined) reportUpdate(invocation, context, before);
      else {
        show(invocation, context);
        output.notice('holding it until this command is interrupted');
      }
    });
    return;
  }
  using client = connectApi(invocation);
  const context = readX509Context(await client.first(SpiffeWorkloadAPI.method.fetchX509SVID, {}));
  if (options.write !== undefined) writeFiles(SvidFiles.open(options.write, X509_FILES), context);
  forgetKeys(context);
  show(invocation, context);
  output.notice(
    "this identity belongs to this process, which ends now; keep one with --hold, or with 'mayfly watch --write DIR'",
  );
}

function show({ output, options, terminal }: Invocation<FetchOptions>, context: X509Context): void {
  const now = terminal.clock.now();
  output.result(contextJson(context, now), () => {
    const { identities, federated } = context;
    return [
      ...identities.flatMap((identity) => identityLines(identity, now)),
      ...[...federated.keys()].map((id) => `federated with ${id}`),
    ];
  });
  if (options.write === undefined) return;
  const [first, ...others] = context.identities;
  const which = others.length === 0 ? '' : ` of ${first.spiffeId}, the first of ${others.length + 1} identities,`;
  const names =
    context.crls.length === 0 ? 'svid.pem, key.pem and bundle.pem' : 'svid.pem, key.pem, bundle.pem and crl.pem';
  output.notice(`${names}${which} are in ${options.write}`);
}
