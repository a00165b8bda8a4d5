import { Command } from 'commander';
import { decodeJwt } from 'jose/jwt/decode';
import type { JWTSVID } from '../gen/workload_pb.js';
import { SpiffeWorkloadAPI } from '../gen/workload_pb.js';
import { parseAudience } from '../kernel/audience.ts';
import { MayflyError } from '../kernel/errors.ts';
import { parseSpiffeId } from '../kernel/spiffe-id.ts';
import { connectApi } from './client.ts';
import type { Invocation } from './invocation.ts';
import { invocationOf } from './invocation.ts';
import { formatUntil } from './moment.ts';
import { fields } from './output.ts';
import { optionOf } from './program.ts';
import type { Terminal } from './terminal.ts';

interface FetchOptions {
  readonly audience?: readonly string[];
  readonly spiffeId?: string;
  readonly raw?: boolean;
}

const audience = optionOf(parseAudience);

/** `mayfly fetch jwt` */
export function fetchJwtCommand(terminal: Terminal): Command {
  return new Command('jwt')
    .summary('a JWT-SVID')
    .description('Ask for a JWT-SVID and show it. Whoever has the token can use it: mind where it goes.')
    .option(
      '--audience <audience>',
      'whom the token is for; may be given again',
      (text, all: readonly string[] | undefined) => [...(all ?? []), audience(text)],
    )
    .option('--spiffe-id <id>', 'which of several identities (default: all)', optionOf(parseSpiffeId))
    .option('--raw', 'print the first token alone, for $(…)')
    .action((_options: unknown, command: Command) => fetchJwt(invocationOf<FetchOptions>(command, terminal)));
}

async function fetchJwt(invocation: Invocation<FetchOptions>): Promise<void> {
  const { options, output, terminal } = invocation;
  if (options.raw === true && output.json) {
    throw new MayflyError('INVALID_USAGE', '--raw and --json print in two ways; give one of them');
  }
  if (options.audience === undefined) throw new MayflyError('INVALID_USAGE', 'whom is the token for? give --audience');
  using client = connectApi(invocation);
  const { svids } = await client.unary(SpiffeWorkloadAPI.method.fetchJWTSVID, {
    audience: [...options.audience],
    spiffeId: options.spiffeId ?? '',
  });
  const [first, ...rest] = svids.map(readToken);
  if (first === undefined) throw new MayflyError('INTERNAL', 'the agent sent no token; look at its log');
  const all = [first, ...rest];
  output.result({ svids: all.map(tokenJson) }, () =>
    options.raw === true ? [first.token] : all.flatMap((token) => tokenLines(token, terminal.clock.now())),
  );
  output.notice('the token belongs to this process, which ends now; a program that lives on asks the agent itself');
}

interface Token {
  readonly spiffeId: string;
  readonly hint: string;
  readonly token: string;
  readonly audiences: readonly string[];
  readonly issuedAt: Date | undefined;
  readonly expiresAt: Date;
}

/** Reads what the token says, for showing it: to be asked for it is no reason to verify it. */
function readToken({ spiffeId, hint, svid: token }: JWTSVID): Token {
  try {
    const { aud = [], iat, exp } = decodeJwt(token);
    if (exp === undefined) throw new Error('it has no exp');
    return {
      spiffeId,
      hint,
      token,
      audiences: typeof aud === 'string' ? [aud] : aud,
      issuedAt: iat === undefined ? undefined : new Date(iat * 1000),
      expiresAt: new Date(exp * 1000),
    };
  } catch (cause) {
    throw new MayflyError('INTERNAL', 'the agent sent something that is no JWT-SVID; look at its log', { cause });
  }
}

function tokenLines(token: Token, now: number): string[] {
  return [
    token.spiffeId,
    ...fields([
      ['audience', token.audiences.join(', ')],
      ['valid until', formatUntil(token.expiresAt, now)],
      ['hint', token.hint],
    ]),
    token.token,
  ];
}

function tokenJson({ spiffeId, hint, token, audiences, issuedAt, expiresAt }: Token) {
  return {
    spiffe_id: spiffeId,
    hint,
    audiences,
    issued_at: issuedAt?.toISOString() ?? null,
    expires_at: expiresAt.toISOString(),
    token,
  };
}
