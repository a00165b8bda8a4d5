import type { X509Certificate } from 'node:crypto';
import { Command } from 'commander';
import { SpiffeWorkloadAPI } from '../gen/workload_pb.js';
import { MayflyError } from '../kernel/errors.ts';
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
}

/** A JWK of a bundle: what is shown of it; all members are printed with `--json`. */
interface Jwk {
  readonly kid?: string;
  readonly kty?: string;
  readonly crv?: string;
}

interface Bundles {
  readonly x509?: ReadonlyMap<string, readonly X509Certificate[]>;
  readonly crls?: readonly string[];
  readonly jwt?: ReadonlyMap<string, { readonly keys: readonly Jwk[] }>;
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
    .action((_options: unknown, command: Command) => showBundles(invocationOf<BundleOptions>(command, terminal)));
}

async function showBundles(invocation: Invocation<BundleOptions>): Promise<void> {
  const { options, output, terminal } = invocation;
  const both = options.x509 === options.jwt;
  using client = connectApi(invocation);
  const [x509, jwt] = await Promise.all([
    both || options.x509 === true ? x509Bundles(client) : {},
    both || options.jwt === true ? jwtBundles(client) : {},
  ]);
  const bundles: Bundles = { ...x509, ...jwt };
  output.result(bundlesJson(bundles), () => bundleLines(bundles, terminal.clock.now()));
}

async function x509Bundles(client: AgentClient): Promise<Bundles> {
  const { bundles, crl } = await client.first(SpiffeWorkloadAPI.method.fetchX509Bundles, {});
  const certificates = Object.entries(bundles).map(([id, der]) => [id, certificatesIn(der)] as const);
  return { x509: new Map(certificates), crls: crl.map(crlPem) };
}

async function jwtBundles(client: AgentClient): Promise<Bundles> {
  const { bundles } = await client.first(SpiffeWorkloadAPI.method.fetchJWTBundles, {});
  return { jwt: new Map(Object.entries(bundles).map(([id, jwks]) => [id, parseKeySet(id, jwks)] as const)) };
}

function parseKeySet(id: string, bytes: Uint8Array): { readonly keys: readonly Jwk[] } {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString());
    if (typeof value === 'object' && value !== null && 'keys' in value && Array.isArray(value.keys)) {
      return { ...value, keys: value.keys as readonly Jwk[] };
    }
    throw new Error('it has no list "keys"');
  } catch (cause) {
    throw new MayflyError('INVALID_BUNDLE', `the agent sent a JWT bundle of ${id} that is no JWK Set`, { cause });
  }
}

function bundlesJson({ x509, crls, jwt }: Bundles) {
  return {
    ...(x509 !== undefined && {
      x509: Object.fromEntries([...x509].map(([id, roots]) => [id, roots.map(String)])),
      crls,
    }),
    ...(jwt !== undefined && { jwt: Object.fromEntries(jwt) }),
  };
}

function bundleLines({ x509 = new Map(), jwt = new Map() }: Bundles, now: number): string[] {
  const ids = [...new Set<string>([...x509.keys(), ...jwt.keys()])].toSorted();
  return ids.flatMap((id) => [
    id,
    ...(x509.get(id) ?? []).map((root: X509Certificate) => {
      return `  X.509  ${nameOf(root.subject)}, until ${formatUntil(root.validToDate, now)}`;
    }),
    ...(jwt.get(id)?.keys ?? []).map((key: Jwk) =>
      `  JWT    ${key.kid ?? 'no kid'}, ${key.kty} ${key.crv ?? ''}`.trimEnd(),
    ),
  ]);
}
