import { randomBytes } from 'node:crypto';
import { parseTrustDomain } from '../../agent/kernel/spiffe-id.ts';
import type { TrustBundle } from '../../agent/svid/trust-bundle.ts';

/** The bundle of `example.org`, with a root that is none: for what hands bundles on and reads nothing in them. */
export function ownBundle(): TrustBundle {
  return {
    trustDomain: parseTrustDomain('example.org'),
    x509Authorities: [randomBytes(30)],
    jwtAuthorities: [],
    witAuthorities: [],
    sequence: 1,
    refreshHint: 60,
  };
}
