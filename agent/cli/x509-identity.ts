import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { X509SVIDResponse } from '../gen/workload_pb.js';
import { MayflyError } from '../kernel/errors.ts';
import { Secret } from '../kernel/secret.ts';
import type { SpiffeId } from '../kernel/spiffe-id.ts';
import { parseSpiffeId } from '../kernel/spiffe-id.ts';

/** One X.509-SVID as a client holds it. */
export interface X509Identity {
  readonly spiffeId: SpiffeId;
  /** `''` where the entry has none. */
  readonly hint: string;
  /** Leaf first, without the root. */
  readonly chain: readonly [X509Certificate, ...X509Certificate[]];
  /** PKCS#8 DER. */
  readonly privateKey: Secret;
  /** The roots of its trust domain. */
  readonly bundle: readonly X509Certificate[];
  /** What signed the leaf; `undefined` when it is neither in the chain nor in the bundle. */
  readonly issuer: X509Certificate | undefined;
  /** The root that the chain ends in; `undefined` when no signature leads to one. */
  readonly root: X509Certificate | undefined;
}

/** What one update of `FetchX509SVID` says. */
export interface X509Context {
  /** The first is the default. */
  readonly identities: readonly [X509Identity, ...X509Identity[]];
  /** By the SPIFFE ID of the foreign trust domain. */
  readonly federated: ReadonlyMap<string, readonly X509Certificate[]>;
  /** DER. */
  readonly crls: readonly Buffer[];
}

/**
 * Reads an answer of the Workload API, and takes its private keys over.
 *
 * @throws MayflyError `INTERNAL` when it is not what the standard says; `INVALID_SPIFFE_ID`
 */
export function readX509Context(response: X509SVIDResponse): X509Context {
  const [first, ...rest] = response.svids.map((svid): X509Identity => {
    const [leaf, ...intermediates] = certificatesIn(svid.x509Svid);
    if (leaf === undefined) throw malformed('an identity without a certificate');
    const chain: X509Identity['chain'] = [leaf, ...intermediates];
    const bundle = certificatesIn(svid.bundle);
    const { x509SvidKey: key } = svid;
    return {
      spiffeId: parseSpiffeId(svid.spiffeId),
      hint: svid.hint,
      chain,
      privateKey: new Secret(Buffer.from(key.buffer, key.byteOffset, key.byteLength)),
      bundle,
      issuer: [...intermediates, ...bundle].find((certificate) => signed(certificate, leaf)),
      root: rootOf(chain, bundle),
    };
  });
  if (first === undefined) throw malformed('an update without an identity');
  return {
    identities: [first, ...rest],
    federated: new Map(Object.entries(response.federatedBundles).map(([id, der]) => [id, certificatesIn(der)])),
    crls: response.crl.map((der) => Buffer.from(der)),
  };
}

/**
 * The certificates of a concatenation of DER, in their order.
 *
 * @throws MayflyError `INTERNAL`
 */
export function certificatesIn(der: Uint8Array): X509Certificate[] {
  const certificates: X509Certificate[] = [];
  let rest = der;
  while (rest.length > 0) {
    let certificate: X509Certificate;
    try {
      // OpenSSL reads one and leaves what follows.
      certificate = new X509Certificate(rest);
    } catch (cause) {
      throw malformed('something that is no certificate', cause);
    }
    certificates.push(certificate);
    rest = rest.subarray(certificate.raw.length);
  }
  return certificates;
}

/** The serial number in lower-case hexadecimal, as the agent logs it. */
export function serialOf(certificate: X509Certificate): string {
  return certificate.serialNumber.toLowerCase();
}

/** A distinguished name on one line: `O=Mayfly, CN=issuing CA 1f2e3d4c5b6a7988`. */
export function nameOf(distinguishedName: string): string {
  return distinguishedName.split('\n').join(', ');
}

export function dnsNamesOf(certificate: X509Certificate): string[] {
  const names = certificate.subjectAltName?.split(', ') ?? [];
  return names.filter((name) => name.startsWith('DNS:')).map((name) => name.slice('DNS:'.length));
}

/** The private key in PEM. @throws MayflyError `INTERNAL` when it is not the leaf's: nothing could be done with the pair */
export function keyPemOf(identity: X509Identity): string {
  const key = createPrivateKey({ key: identity.privateKey.reveal(), format: 'der', type: 'pkcs8' });
  if (!identity.chain[0].checkPrivateKey(key)) throw malformed("a private key that is not the certificate's");
  return key.export({ format: 'pem', type: 'pkcs8' });
}

/** Overwrites the private keys. */
export function forgetKeys(context: X509Context): void {
  for (const { privateKey } of context.identities) privateKey.destroy();
}

/** Follows the signatures from the leaf upwards. */
function rootOf(chain: readonly X509Certificate[], bundle: readonly X509Certificate[]): X509Certificate | undefined {
  const broken = chain.some((certificate, index) => {
    const above = chain[index + 1];
    return above !== undefined && !signed(above, certificate);
  });
  const last = chain.at(-1);
  if (broken || last === undefined) return undefined;
  return bundle.find((root) => signed(root, last));
}

function signed(issuer: X509Certificate, certificate: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function malformed(what: string, cause?: unknown): MayflyError {
  return new MayflyError('INTERNAL', `the agent sent ${what}; look at its log`, { cause });
}
