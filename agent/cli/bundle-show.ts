import type { X509Certificate } from 'node:crypto';
import { Command } from 'commander';
import { SpiffeWorkloadAPI } from '../gen/workload_pb.js';
import { isMayflyError, MayflyError } from '../kernel/errors.ts';
import type { AgentClient } from './client.ts';
import { connectApi } from './client.ts';
import type { Invocation } from './invocation.ts';
import { invocationOf } from './invocation.ts';
import { formatUntil } from './moment.ts';
import type { Terminal } from './terminal.ts';
import { certificatesIn, nameOf } from './x509-identity.ts';
import { crlPem } from './x509-text.ts';

interface BundleOptions {
  readonly x509?: boolean;
  readonly jwt?: boolean;
  readonly wit?: boolean;
}

type Kind = 'x509' | 'jwt' | 'wit';

/** A JWK of a bundle: what is shown of it; all members are printed with `--json`. */
interface Jwk {
  readonly kid?: string;
  readonly kty?: string;
  readonly crv?: string;
}

type KeySets = ReadonlyMap<string, { readonly keys: readonly Jwk[] }>;

interface Bundles {
  readonly x509?: ReadonlyMap<string, readonly X509Certificate[]>;
  readonly crls?: readonly string[];
  readonly jwt?: KeySets;
  readonly wit?: KeySets;
}

/** `mayfly bundle show` */
export function bundleShowCommand(terminal: Terminal): Command {
  return new Command('show')
    .summary('the keys that this process may verify others with')
    .description(
      'Show the keys that this process may verify others with: of its own trust domain and of those it federates with.',
    )
    .option('--x509', 'X.509 roots alone')
    .option('--jwt', 'JWT keys alone')
    .option('--wit', 'WIT keys alone')
    .action((_options: unknown, command: Command) => showBundles(invocationOf<BundleOptions>(command, terminal)));
}

async function showBundles(invocation: Invocation<BundleOptions>): Promise<void> {
  const { options, output, terminal } = invocation;
  const named = (['x509', 'jwt', 'wit'] as const).filter((kind) => options[kind] === true);
  const asked = (kind: Kind) => named.length === 0 || named.includes(kind);
  using client = connectApi(invocation);
  const [x509, jwt, wit] = await Promise.all([
    asked('x509') ? x509Bundles(client) : {},
    asked('jwt') ? jwtBundles(client) : {},
    asked('wit') ? witBundles(client, named.includes('wit')) : {},
  ]);
  const bundles: Bundles = { ...x509, ...jwt, ...wit };
  output.result(bundlesJson(bundles), () => bundleLines(bundles, terminal.clock.now()));
}

async function x509Bundles(client: AgentClient): Promise<Bundles> {
  const { bundles, crl } = await client.first(SpiffeWorkloadAPI.method.fetchX509Bundles, {});
  const certificates = Object.entries(bundles).map(([id, der]) => [id, certificatesIn(der)] as const);
  return { x509: new Map(certificates), crls: crl.map(crlPem) };
}

async function jwtBundles(client: AgentClient): Promise<Bundles> {
  const { bundles } = await client.first(SpiffeWorkloadAPI.method.fetchJWTBundles, {});
  const texts = Object.entries(bundles).map(([id, bytes]) => [id, Buffer.from(bytes).toString()] as const);
  return { jwt: keySets('JWT', texts) };
}

/** @param named whether they were asked for by name: what an agent does not have is then an error */
async function witBundles(client: AgentClient, named: boolean): Promise<Bundles> {
  try {
    const { bundles } = await client.first(SpiffeWorkloadAPI.method.fetchWITBundles, {});
    return { wit: keySets('WIT', Object.entries(bundles)) };
  } catch (error) {
    if (!named && isMayflyError(error, 'NOT_OFFERED')) return {};
    throw error;
  }
}

function keySets(kind: string, texts: readonly (readonly [string, string])[]): KeySets {
  return new Map(texts.map(([id, text]) => [id, parseKeySet(kind, id, text)]));
}

function parseKeySet(kind: string, id: string, text: string): { readonly keys: readonly Jwk[] } {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && 'keys' in value && Array.isArray(value.keys)) {
      return { ...value, keys: value.keys as readonly Jwk[] };
    }
    throw new Error('it has no list "keys"');
  } catch (cause) {
    throw new MayflyError('INVALID_BUNDLE', `the agent sent a ${kind} bundle of ${id} that is no JWK Set`, { cause });
  }
}

function bundlesJson({ x509, crls, jwt, wit }: Bundles) {
  return {
    ...(x509 !== undefined && {
      x509: Object.fromEntries([...x509].map(([id, roots]) => [id, roots.map(String)])),
      crls,
    }),
    ...(jwt !== undefined && { jwt: Object.fromEntries(jwt) }),
    ...(wit !== undefined && { wit: Object.fromEntries(wit) }),
  };
}

function bundleLines({ x509 = new Map(), jwt = new Map(), wit = new Map() }: Bundles, now: number): string[] {
  const ids = [...new Set<string>([...x509.keys(), ...jwt.keys(), ...wit.keys()])].toSorted();
  return ids.flatMap((id) => [
    id,
    ...(x509.get(id) ?? []).map((root: X509Certificate) => {
      return `  X.509  ${nameOf(root.subject)}, until ${formatUntil(root.validToDate, now)}`;
    }),
    ...(jwt.get(id)?.keys ?? []).map((key: Jwk) => keyLine('JWT', key)),
    ...(wit.get(id)?.keys ?? []).map((key: Jwk) => keyLine('WIT', key)),
  ]);
}

function keyLine(kind: string, { crv = '', kid = 'no kid', kty }: Jwk): string {
  return `  ${kind}    ${kid}, ${kty} ${crv}`.trimEnd();
}
