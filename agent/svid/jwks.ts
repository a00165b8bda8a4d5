import type { TrustBundle } from './trust-bundle.ts';

/**
 * The JWK Set that the Workload API hands out for one trust domain: the JWT keys alone, each with `kid`. java-spiffe refuses the
 * whole set over any other key, and `use` is left out as SPIRE does, since stock JWT libraries know only `sig` and `enc`.
 */
export function jwksOf(bundle: TrustBundle): string {
  return JSON.stringify({ keys: bundle.jwtAuthorities.map(({ jwk }) => jwk) });
}

/**
 * The JWK Set of the WIT keys alone. They keep their `use`: it is by that that a consumer has to tell them from other keys (WIT-SVID
 * §6.2), and a stock JWT library that does not know it must not take a WIT-SVID for a bearer token anyway.
 */
export function witJwksOf(bundle: TrustBundle): string {
  return JSON.stringify({ keys: bundle.witAuthorities.map(({ jwk }) => ({ ...jwk, use: 'wit-svid' })) });
}
