import type { ReadCrl } from './crl-reader.ts';

/** An update of `FetchX509SVID`. Times in milliseconds since the epoch, certificates in PEM. */
export interface SaidX509 {
  readonly event: 'x509';
  /** Streams are numbered from 1. */
  readonly stream: number;
  readonly ids: readonly string[];
  readonly hints: readonly string[];
  readonly serial: string;
  /** SHA-256 of the public key. */
  readonly key: string;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly chain: string;
  readonly roots: string;
  /** Fingerprints of the roots, by SPIFFE ID of the trust domain. */
  readonly federated: Readonly<Record<string, readonly string[]>>;
  readonly crls: readonly ReadCrl[];
}

/** An update of `FetchX509Bundles`. */
export interface SaidBundles {
  readonly event: 'bundles';
  readonly stream: number;
  readonly domains: readonly string[];
  readonly crls: readonly ReadCrl[];
  /** When it was there: milliseconds since the epoch, fractions included. */
  readonly at: number;
}

/** An update of `FetchWITSVID`. */
export interface SaidWit {
  readonly event: 'wit';
  readonly stream: number;
  readonly ids: readonly string[];
  readonly token: string;
  readonly jti: string;
  /** The private number of the key that the token confirms, base64url. */
  readonly secret: string;
}

/** What a workload process says, a JSON object a line. */
export type Said =
  | SaidX509
  | SaidBundles
  /** A response of SDS. */
  | { readonly event: 'secrets'; readonly count: number }
  | SaidWit
  | { readonly event: 'validated'; readonly id: string }
  /** The number that the newest private key is, in hexadecimal. */
  | { readonly event: 'key'; readonly scalar: string }
  | { readonly event: 'end'; readonly stream: number; readonly code: string; readonly details: string }
  | { readonly event: 'jwt'; readonly ms: number; readonly tokens: readonly string[] }
  | { readonly event: 'refused'; readonly ms: number; readonly code: string; readonly details: string }
  | { readonly event: 'connected' }
  | { readonly event: 'closed' }
  | { readonly event: 'serving'; readonly port: number }
  | { readonly event: 'accepted'; readonly peer: string }
  | { readonly event: 'dialed'; readonly peer: string }
  | { readonly event: 'rejected'; readonly reason: string }
  | { readonly event: 'inherited'; readonly got: string };
