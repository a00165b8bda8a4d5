import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import { connect, type SecureVersion } from 'node:tls';
import type { WorkloadClient } from '../support/workload-client.ts';

/** What became of a connection. */
export interface Knock {
  /** The status of the answer; `undefined` when there was none. */
  readonly status: number | undefined;
  readonly resumed: boolean;
  /** By which the next may be resumed. */
  readonly session: Buffer | undefined;
}

export const VERSIONS: readonly SecureVersion[] = ['TLSv1.2', 'TLSv1.3'];

/** The key and the certificate of a process, in the hands of another one. */
export class StolenIdentity {
  readonly #cert: string;
  readonly #key: string;

  private constructor(cert: string, key: string) {
    this.#cert = cert;
    this.#key = key;
  }

  /** Takes what a workload got through the Workload API. */
  static async of(victim: WorkloadClient): Promise<StolenIdentity> {
    const { chain } = await victim.x509();
    const { scalar } = await victim.tell('key', 'key');
    const d = Buffer.from(scalar, 'hex').toString('base64url');
    const key = createPrivateKey({
      format: 'jwk',
      key: { ...new X509Certificate(chain).publicKey.export({ format: 'jwk' }), d },
    });
    return new StolenIdentity(chain, key.export({ format: 'pem', type: 'pkcs8' }));
  }

  /** A server on loopback that says it is the victim. */
  async serve(): Promise<Server> {
    const server = createServer(
      { cert: this.#cert, key: this.#key },
      (_request, response) => void response.end('hello'),
    );
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return server;
  }

  /** A request to a server of this machine, on a connection of its own. @param session makes it resume that one */
  knock(port: number, version: SecureVersion, session?: Buffer): Promise<Knock> {
    const { promise, resolve } = Promise.withResolvers<Knock>();
    let said = '';
    let next: Buffer | undefined;
    const socket = connect({
      host: '127.0.0.1',
      port,
      cert: this.#cert,
      key: this.#key,
      // A thief does not mind whom it speaks to.
      rejectUnauthorized: false,
      minVersion: version,
      maxVersion: version,
      ...(session !== undefined && { session }),
    });
    socket.on('session', (fresh) => {
      next = fresh;
    });
    socket.on('data', (part) => {
      said += String(part);
      // Envoy would wait a second for the client to close.
      socket.end();
    });
    // In TLS 1.3 a refusal comes after the client's side of the handshake.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      const status = /^HTTP\/1\.1 (\d+)/.exec(said)?.[1];
      resolve({ status: status === undefined ? undefined : Number(status), resumed, session: next });
    });
    let resumed = false;
    socket.once('secureConnect', () => {
      resumed = socket.isSessionReused();
    });
    socket.write('GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n');
    return promise;
  }
}
