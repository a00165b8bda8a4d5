import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import type { Readable } from 'node:stream';
import type { JsonObject } from '@bufbuild/protobuf';
import { Command } from 'commander';
import { WorkloadExtension } from '../gen/workload_extension_pb.js';
import { SpiffeWorkloadAPI } from '../gen/workload_pb.js';
import { parseAudience } from '../kernel/audience.ts';
import { isMayflyError, MayflyError, messageOf } from '../kernel/errors.ts';
import type { AgentClient } from './client.ts';
import { connectApi } from './client.ts';
import type { Invocation } from './invocation.ts';
import { invocationOf } from './invocation.ts';
import { fields } from './output.ts';
import { optionOf } from './program.ts';
import type { Terminal } from './terminal.ts';

interface ValidateOptions {
  readonly audience?: string;
  readonly wit?: true;
  readonly token: string;
}

/** What the agent says of a token that holds. */
interface Valid {
  readonly spiffeId: string;
  readonly claims?: JsonObject | undefined;
}

// More than any token that the agent accepts, and little enough to read whatever it is.
const MAX_BYTES = 64 * 1024;

/** `mayfly validate` */
export function validateCommand(terminal: Terminal): Command {
  return new Command('validate')
    .description(
      'Have the agent validate a JWT-SVID, or with --wit a WIT-SVID. The token is read, never given as an argument: others on the machine see those.',
    )
    .option('--audience <audience>', 'whom a JWT-SVID has to be for', optionOf(parseAudience))
    .option('--wit', 'it is a WIT-SVID, which is for nobody in particular')
    .option('--token <file>', 'where the token is; - is the standard input', '-')
    .action((_options: unknown, command: Command) => validate(invocationOf<ValidateOptions>(command, terminal)));
}

async function validate(invocation: Invocation<ValidateOptions>): Promise<void> {
  const { options, output } = invocation;
  const ask = questionOf(options);
  const svid = await readToken(invocation);
  using client = connectApi(invocation);
  const { spiffeId, claims = {} } = await ask(client, svid).catch((error: unknown) => {
    throw isMayflyError(error, 'INVALID_REQUEST') ? notValid(error) : error;
  });
  output.result({ spiffe_id: spiffeId, claims }, () => [
    spiffeId,
    ...fields(Object.entries(claims).map(([name, value]) => [name, claimText(name, value)] as const)),
  ]);
  if (options.wit === true) {
    output.notice(
      'whoever presents it must prove in each request that the key in cnf is theirs: the token alone proves nothing',
    );
  }
}

/** @throws MayflyError `INVALID_USAGE` */
function questionOf({ audience, wit }: ValidateOptions): (client: AgentClient, svid: string) => Promise<Valid> {
  if (wit === true) {
    if (audience !== undefined) {
      throw new MayflyError('INVALID_USAGE', 'a WIT-SVID is for no audience; give --wit or --audience');
    }
    return (client, svid) => client.unary(WorkloadExtension.method.validateWITSVID, { svid });
  }
  if (audience === undefined) throw new MayflyError('INVALID_USAGE', 'whom must the token be for? give --audience');
  return (client, svid) => client.unary(SpiffeWorkloadAPI.method.validateJWTSVID, { audience, svid });
}

function notValid(error: MayflyError): MayflyError {
  const reason = error.message.replace(/^the agent cannot do this: /, '');
  return new MayflyError('TOKEN_INVALID', `the token does not validate, do not trust it: ${reason}`, { cause: error });
}

function claimText(name: string, value: unknown): string {
  const time = typeof value === 'number' && ['exp', 'iat', 'nbf'].includes(name) ? new Date(value * 1000) : undefined;
  if (time !== undefined && !Number.isNaN(time.getTime())) return `${value as number} (${time.toISOString()})`;
  return typeof value === 'string' ? value : JSON.stringify(value);
}

async function readToken({ options, output, terminal }: Invocation<ValidateOptions>): Promise<string> {
  const { token: file } = options;
  if (file === '-') {
    if (terminal.stdin.isTTY === true) output.notice('type or paste the token, then Ctrl-D');
    return tokenIn(await readText(terminal.stdin), 'the standard input');
  }
  // Not echoed: what stands here may be the token itself.
  if (/^ey[\w-]+\.[\w-]+\.[\w-]*$/.test(file)) {
    throw new MayflyError('INVALID_USAGE', '--token takes a file or -, and others can see a token that is an argument');
  }
  try {
    return tokenIn(await readText(createReadStream(resolve(terminal.cwd, file))), file);
  } catch (error) {
    if (isMayflyError(error)) throw error;
    throw new MayflyError('INVALID_USAGE', `the token cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

function tokenIn(text: string, place: string): string {
  const token = text.trim();
  if (token === '') throw new MayflyError('SVID_MISSING', `there is no token in ${place}`);
  return token;
}

async function readText(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream) {
    const bytes = Buffer.from(chunk as Uint8Array | string);
    length += bytes.length;
    if (length > MAX_BYTES)
      throw new MayflyError('TOKEN_INVALID', `this is no token: it is longer than ${MAX_BYTES} bytes`);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString();
}
