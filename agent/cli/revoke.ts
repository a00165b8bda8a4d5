import { Command, Option } from 'commander';
import type { RevokeResponse_Revoked as Revoked, RevokeResponse } from '../gen/admin_pb.js';
import { Admin, RevokeResponseSchema } from '../gen/admin_pb.js';
import { MayflyError } from '../kernel/errors.ts';
import type { RevocationReason } from '../svid/crl.ts';
import { REVOCATION_REASONS } from '../svid/crl.ts';
import { connectAdmin } from './client.ts';
import type { Invocation } from './invocation.ts';
import { invocationOf } from './invocation.ts';
import { messageJson } from './message-json.ts';
import { AnsweredNo, counted, table } from './output.ts';
import type { TargetOptions } from './target.ts';
import { entryOption, jtiOption, pidOption, placeOption, serialOption, spiffeIdOption, targetOf } from './target.ts';
import type { Terminal } from './terminal.ts';

interface RevokeOptions extends TargetOptions {
  readonly reason?: string;
  readonly code: RevocationReason;
  readonly allowReissue?: true;
  readonly yes?: true;
}

const TARGETS = '--serial, --jti, --pid, --spiffe-id, --entry, --in, --all';
// A sentence or two: it stands in the ledger for ever.
const MAX_REASON = 1000;

/** `mayfly revoke` */
export function revokeCommand(terminal: Terminal): Command {
  return new Command('revoke')
    .description(
      'Revoke what was issued, at once and before it expires. The processes get no new identity of the same entry until they are started anew, or are allowed to.',
    )
    .addOption(serialOption('revoke the lease of'))
    .addOption(jtiOption('revoke'))
    .addOption(pidOption('revoke'))
    .addOption(spiffeIdOption('revoke'))
    .addOption(entryOption('revoke'))
    .addOption(placeOption('revoke'))
    .option('--all', 'revoke what every process has; needs --yes')
    .option('--reason <text>', 'why, in your own words, for the record')
    .addOption(
      new Option('--code <reason>', 'the reason that verifiers read on the list')
        .choices(REVOCATION_REASONS)
        .default('keyCompromise' satisfies RevocationReason),
    )
    .option('--allow-reissue', 'let the processes get new identities at once; lifts what bars them from earlier, too')
    .option('--yes', 'with --all: I mean it')
    .action((_options: unknown, command: Command) => revoke(invocationOf<RevokeOptions>(command, terminal)));
}

async function revoke(invocation: Invocation<RevokeOptions>): Promise<void> {
  const { options, output } = invocation;
  const target = targetOf(options, TARGETS);
  const reason = reasonIn(options);
  if (target.case === 'all' && options.yes === undefined) {
    throw new MayflyError(
      'INVALID_USAGE',
      'every process on this machine would lose its identity; give --yes too if that is meant',
    );
  }
  using client = connectAdmin(invocation);
  const allowReissue = options.allowReissue === true;
  const answer = await client.unary(Admin.method.revoke, { target, reason, reasonCode: options.code, allowReissue });
  output.result(messageJson(RevokeResponseSchema, answer), () => revocationLines(answer));
  if (answer.revoked.length === 0 && answer.allowed === 0 && target.case !== 'all') throw new AnsweredNo();
}

function reasonIn({ reason }: RevokeOptions): string {
  const text = reason?.trim() ?? '';
  if (text === '') throw new MayflyError('INVALID_USAGE', 'why? give --reason TEXT, it goes on record');
  if (text.length > MAX_REASON) {
    throw new MayflyError('INVALID_USAGE', `--reason is longer than ${MAX_REASON} characters; say it shorter`);
  }
  return text;
}

function revocationLines({ revoked, allowed }: RevokeResponse): string[] {
  return [
    ...(revoked.length === 0
      ? ['nothing was revoked: no living process has that, and nothing of it is still valid']
      : table(['PID', 'SPIFFE ID', 'ENTRY', 'REVOKED', 'LEASE'], revoked.flatMap(revokedRows))),
    ...barLines(revoked.filter(({ barred }) => barred)),
    ...(allowed === 0 ? [] : [`no longer barred from earlier: ${counted(allowed, 'process', 'processes')}`]),
  ];
}

/** A row for each certificate and token; who had them stands in the first. */
function revokedRows({
  pid,
  spiffeId,
  entryId,
  serials,
  jtis,
  ended,
  barred,
}: Revoked): readonly (readonly string[])[] {
  const [first = 'nothing', ...more] = [
    ...serials.map((serial) => `certificate ${serial}`),
    ...jtis.map((jti) => `token ${jti}`),
  ];
  const lease = `${ended ? 'ended' : 'goes on'}${barred ? ', process barred' : ''}`;
  return [[String(pid), spiffeId, entryId, first, lease], ...more.map((what) => ['', '', '', what])];
}

/** What it means to be barred, and what lifts it. */
function barLines(barred: readonly Revoked[]): string[] {
  const [first, ...others] = barred;
  if (first === undefined) return [];
  const [who, pid] = others.length === 0 ? ['the barred process gets', first.pid] : ['barred processes get', 'PID'];
  return [
    `${who} no such identity again until it is started anew, or until: mayfly revoke --pid ${pid} --allow-reissue --reason TEXT`,
  ];
}
