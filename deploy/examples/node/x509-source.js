import { createPrivateKey, X509Certificate } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { credentials, loadPackageDefinition, Metadata } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

/** @import { ChannelCredentials, GrpcObject } from '@grpc/grpc-js' */
/** @import { SecureContextOptions } from 'node:tls' */
/** @typedef {{ svids: { x509Svid: Buffer, x509SvidKey: Buffer, bundle: Buffer }[], crl: Buffer[] }} X509SVIDResponse */
/** @typedef {{ FetchX509SVID(request: object, header: Metadata): AsyncIterable<X509SVIDResponse> }} Client */
/** @typedef {{ SpiffeWorkloadAPI: new (address: string, credentials: ChannelCredentials) => Client }} Api */

const AGAIN_MS = 1_000;

const definition = loadSync(new URL('workload.proto', import.meta.url).pathname, { arrays: true });
const { SpiffeWorkloadAPI } = /** @type {GrpcObject & Api} */ (loadPackageDefinition(definition));

/** This process' certificate, key, roots and revocation lists, as node:tls takes them. Emits `update` whenever one of them is new. */
class X509Source extends EventEmitter {
  /** @type {SecureContextOptions} */
  options = {};
  #api = new SpiffeWorkloadAPI(process.env['SPIFFE_ENDPOINT_SOCKET'] ?? '', credentials.createInsecure());

  async follow() {
    const header = new Metadata();
    header.set('workload.spiffe.io', 'true');
    for (;;) {
      try {
        for await (const response of this.#api.FetchX509SVID({}, header)) {
          this.options = optionsOf(response);
          this.emit('update');
        }
      } catch (error) {
        // What is held serves on until it expires, and the agent may be back before that.
        console.error('the agent says:', error instanceof Error ? error.message : error);
      }
      await setTimeout(AGAIN_MS);
    }
  }
}

/** Waits until the agent gives this process an identity; from then on the source follows each renewal. */
export async function x509Source() {
  const source = new X509Source();
  const first = once(source, 'update');
  void source.follow();
  await first;
  return source;
}

/**
 * The SPIFFE ID in a certificate that was verified.
 *
 * @param {string | undefined} names its subject alternative names, as Node spells them
 */
export function spiffeIdOf(names = '') {
  const [id, ...others] = names.split(', ').filter((name) => name.startsWith('URI:'));
  // Node puts names that could be taken for several in quotes. No SVID has such.
  if (id === undefined || others.length > 0 || names.includes('"')) throw new Error(`not an X509-SVID: ${names}`);
  return id.slice('URI:'.length);
}

/**
 * @param {X509SVIDResponse} response
 * @returns {SecureContextOptions}
 */
function optionsOf({ svids: [svid], crl }) {
  if (svid === undefined) throw new Error('no identity');
  const key = createPrivateKey({ key: svid.x509SvidKey, format: 'der', type: 'pkcs8' });
  return {
    cert: [...certificates(svid.x509Svid)].join(''),
    key: key.export({ format: 'pem', type: 'pkcs8' }),
    ca: [...certificates(svid.bundle)],
    crl: crl.map((der) => `-----BEGIN X509 CRL-----\n${base64(der)}\n-----END X509 CRL-----\n`),
  };
}

/**
 * @param {Buffer} der certificates one behind the other
 * @returns {Generator<string>} each in PEM
 */
function* certificates(der) {
  for (let rest = der; rest.length > 0; ) {
    const certificate = new X509Certificate(rest);
    yield certificate.toString();
    rest = rest.subarray(certificate.raw.length);
  }
}

/** @param {Buffer} der */
function base64(der) {
  return der.toString('base64').replace(/.{64}(?=.)/g, '$&\n');
}
