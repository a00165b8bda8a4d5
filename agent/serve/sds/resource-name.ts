import { MayflyError } from '../../kernel/errors.ts';
import type { SpiffeId, TrustDomain } from '../../kernel/spiffe-id.ts';
import { parseSpiffeId, pathOf, trustDomainOf } from '../../kernel/spiffe-id.ts';

/** The names, beside SPIFFE IDs, under which proxies ask for a secret. */
export interface SecretNames {
  /** The caller's first identity. */
  readonly defaultSvidName: string;
  /** The bundle of the own trust domain. */
  readonly defaultBundleName: string;
  /** The bundles of all trust domains that the caller may verify. */
  readonly defaultAllBundlesName: string;
}

/** What a name asks for. Without an `id` the first identity is meant, without a `trustDomain` the own one. */
export type Asked = { readonly name: string } & (
  | { readonly kind: 'svid'; readonly id?: SpiffeId }
  | { readonly kind: 'bundle'; readonly trustDomain?: TrustDomain }
  | { readonly kind: 'all-bundles' }
);

/** How Istio's older proxies ask for certificates in files of their own; its agent reads those, not a Workload API. */
const FILE_NAMES = /^file-(?:cert|root):/;

/** Reads what a proxy asks for; `undefined` when the name can mean nothing here. */
export function parseSecretName(name: string, names: SecretNames): Asked | undefined {
  if (name === names.defaultSvidName) return { name, kind: 'svid' };
  if (name === names.defaultBundleName) return { name, kind: 'bundle' };
  if (name === names.defaultAllBundlesName) return { name, kind: 'all-bundles' };
  let id: SpiffeId;
  try {
    id = parseSpiffeId(name);
  } catch {
    return undefined;
  }
  return pathOf(id) === '' ? { name, kind: 'bundle', trustDomain: trustDomainOf(id) } : { name, kind: 'svid', id };
}

// This goes into trailers, whose size is limited, and into logs.
const MOST_NAMED = 10;
const MOST_OF_A_NAME = 200;

/** The answer to names that the caller may not have, or that mean nothing. SPIRE's agent says the same, and users search for it. */
export function notAuthorized(missing: readonly string[]): MayflyError {
  const named = missing.toSorted().slice(0, MOST_NAMED);
  const more = missing.length > named.length ? ` and ${missing.length - named.length} more` : '';
  const quoted = named.map((name) => JSON.stringify(name.slice(0, MOST_OF_A_NAME))).join(' ');
  const files = named.some((name) => FILE_NAMES.test(name))
    ? '; file-cert: and file-root: name files of the proxy, which an SDS server on a socket does not have: ask for a SPIFFE ID instead'
    : '';
  return new MayflyError(
    'SECRET_NOT_AUTHORIZED',
    `workload is not authorized for the requested identities [${quoted}]${more}${files}`,
  );
}
