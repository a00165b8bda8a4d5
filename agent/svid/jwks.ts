import type { TrustBundle } from './trust-bundle.ts';

/**
 * The JWK Set that the Workload API hands out for one trust domain: the JWT keys alone, each with `kid`. java-spiffe refuses the
 * whole set over any other key, and `use` is left out as SPIRE does, since stock JWT libraries know only `sig` and `enc`.
 */
export function jwksOf(bundle: TrustBundle): string {
  return JSON.stringify({ keys: bundle.jwtAuthorities.map(({ jwk }) => jwk) });
}
