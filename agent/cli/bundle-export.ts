import { resolve } from 'node:path';
import { Command } from 'commander';
import type { WatchBundleResponse } from '../gen/admin_pb.js';
import { Admin } from '../gen/admin_pb.js';
import { MayflyError } from '../kernel/errors.ts';
import { parseTrustDomain } from '../kernel/spiffe-id.ts';
import { parseBundle } from '../svid/bundle-json.ts';
import type { TrustBundle } from '../svid/trust-bundle.ts';
import { BundleFile } from './bundle-file.ts';
import type { AgentClient } from './client.ts';
import { connectAdmin } from './client.ts';
import { follow } from './follow.ts';
import type { Invocation } from './invocation.ts';
import { invocationOf } from './invocation.ts';
import type { Terminal } from './terminal.ts';

interface ExportOptions {
  readonly write?: string;
  readonly follow?: true;
}

/** `mayfly bundle export` */
export function bundleExportCommand(terminal: Terminal): Command {
  return new Command('export')
    .summary("the bundle of the agent's own trust domain, for those who federate with it")
    .description(
      "Print the bundle of the agent's own trust domain in SPIFFE bundle format, for the agents of other trust domains. It changes whenever a key is made or has expired.",
    )
    .option('--write <file>', 'replace a file with it: who reads the file sees the old one or the new one, whole')
    .option(
      '--follow',
      "with --write: replace the file at each change, until interrupted. Survives the agent's restarts; the file stays at the end",
    )
    .action((_options: unknown, command: Command) => exportBundle(invocationOf<ExportOptions>(command, terminal)));
}

async function exportBundle(invocation: Invocation<ExportOptions>): Promise<void> {
  const { options, output, terminal } = invocation;
  if (options.write === undefined) {
    if (options.follow === true) {
      throw new MayflyError('INVALID_USAGE', '--follow keeps a file fresh; name the file with --write FILE');
    }
    using client = connectAdmin(invocation);
    const { bundle } = await client.first(Admin.method.watchBundle, {});
    output.result(JSON.parse(bundle), () => bundle.trimEnd().split('\n'));
    return;
  }
  const file = BundleFile.at(resolve(terminal.cwd, options.write));
  using client = connectAdmin(invocation);
  if (options.follow === true) await keep(invocation, client, file);
  else report(invocation, write(await client.first(Admin.method.watchBundle, {}), file), file);
}

/** Waits for an agent that is away, and tries again where the file cannot be written for now: a full disk may have room again. */
async function keep(invocation: Invocation, client: AgentClient, file: BundleFile): Promise<void> {
  const { clock, random } = invocation.terminal;
  using interruption = invocation.terminal.interruption();
  const { signal } = interruption;
  let told: string | undefined;
  for await (const event of follow((stop) => written(client, file, stop), { clock, random, signal, patient: true })) {
    if (event.kind === 'update') {
      told = undefined;
      report(invocation, event.update, file);
    } else if (event.error.message !== told) {
      // Once, not at every attempt.
      told = event.error.message;
      invocation.output.notice(`${told}; the file stays as it is, trying again`);
    }
  }
}

async function* written(client: AgentClient, file: BundleFile, signal: AbortSignal): AsyncGenerator<TrustBundle> {
  for await (const answer of client.stream(Admin.method.watchBundle, {}, signal)) yield write(answer, file);
}

/** @returns what others will read in the file */
function write({ bundle, trustDomain }: WatchBundleResponse, file: BundleFile): TrustBundle {
  const parsed = parseBundle(parseTrustDomain(trustDomain), bundle);
  file.write(bundle);
  return parsed;
}

function report(
  { output }: Invocation,
  { jwtAuthorities, refreshHint, sequence, trustDomain, witAuthorities, x509Authorities }: TrustBundle,
  { path }: BundleFile,
): void {
  const value = { trust_domain: trustDomain, spiffe_sequence: sequence, spiffe_refresh_hint: refreshHint, file: path };
  output.result(value, () => [
    `${trustDomain}, sequence ${sequence}, X.509 roots ${x509Authorities.length}, JWT keys ${jwtAuthorities.length}, WIT keys ${witAuthorities.length}: written to ${path}`,
  ]);
}
