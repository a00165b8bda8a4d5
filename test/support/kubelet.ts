import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { KubeletOptions } from '../../agent/attest/k8s/kubelet-options.ts';
import { parseSpiffeId, parseTrustDomain } from '../../agent/kernel/spiffe-id.ts';
import { generateSigningKey, keyIdOf, type SigningKey } from '../../agent/svid/signing-key.ts';
import { caName, LeafSigner, newSerial, signCa, type X509Issuer } from '../../agent/svid/x509.ts';
import { pemOf } from './openssl.ts';
import { podJson, podListJson, type TestPod } from './pods.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A cluster's certificate authority. */
export class ClusterCa {
  readonly pem: string;
  readonly #issuer: X509Issuer;

  constructor() {
    const key = generateSigningKey('ec-p256');
    const keyId = keyIdOf(key.publicKey);
    this.#issuer = { key, keyId, name: caName('root', keyId) };
    const { name } = this.#issuer;
    const terms = { name, publicKey: key.publicKey, pathLength: 0, nameConstraint: false, ...common() };
    this.pem = pemOf(signCa({ ...terms, trustDomain: parseTrustDomain('cluster.internal') }, this.#issuer));
  }

  /** A certificate for `host`, and its key. */
  issue(host: string, notAfter = Date.now() + 3_600_000): { readonly cert: string; readonly key: string } {
    const key: SigningKey = generateSigningKey('ec-p256');
    const id = parseSpiffeId('spiffe://cluster.internal/kubelet');
    const terms = { id, dnsNames: [host], publicKey: key.publicKey, ...common(), notAfter };
    return {
      cert: pemOf(new LeafSigner(this.#issuer).sign(terms)),
      key: key.privateKey.export({ type: 'pkcs8', format: 'pem' }),
    };
  }
}

function common() {
  return { serial: newSerial(randomBytes), notBefore: Date.now() - 7_200_000, notAfter: Date.now() + 3_600_000 };
}

export interface KubeletTerms {
  /** A folder for the files that the agent is told of. */
  readonly folder: string;
  readonly ca?: ClusterCa;
  /** What its certificate bears; `localhost` unless said. */
  readonly host?: string;
  readonly notAfter?: number;
  /** On this port; on a free one unless said. */
  readonly port?: number;
}

/** What a kubelet serves, on loopback, with TLS: the list of the pods that a test puts in, to whoever shows the token. */
export class TestKubelet {
  readonly ca: ClusterCa;
  /** In PEM. */
  readonly certificate: string;
  readonly options: KubeletOptions;
  readonly port: number;
  /** How often the list was asked for. */
  requests = 0;
  /** What it takes for a token. */
  token = 'token-1';
  /** How it answers: with the list, unless a test says otherwise. */
  answer: Handler = (_, response) => response.end(podListJson(this.#pods));
  #pods: readonly string[] = [];
  readonly #server: Server;

  static async start(terms: KubeletTerms): Promise<TestKubelet> {
    const ca = terms.ca ?? new ClusterCa();
    const identity = ca.issue(terms.host ?? 'localhost', terms.notAfter);
    const server = createServer({
      ...identity,
      ca: ca.pem,
      requestCert: true,
      rejectUnauthorized: false,
    });
    server.listen(terms.port ?? 0, '127.0.0.1');
    await once(server, 'listening');
    return new TestKubelet(server, ca, identity.cert, terms.folder);
  }

  private constructor(server: Server, ca: ClusterCa, certificate: string, folder: string) {
    this.certificate = certificate;
    this.#server = server;
    this.ca = ca;
    this.port = (server.address() as AddressInfo).port;
    this.options = {
      nodeName: 'localhost',
      nodeNameEnv: 'MY_NODE_NAME',
      kubeletSecurePort: this.port,
      kubeletReadOnlyPort: 0,
      kubeletCaPath: join(folder, 'ca.crt'),
      skipKubeletVerification: false,
      tokenPath: join(folder, 'token'),
      certificatePath: '',
      privateKeyPath: '',
      maxAnswerSize: 64 * 1024 ** 2,
    };
    writeFileSync(this.options.kubeletCaPath, ca.pem);
    writeFileSync(this.options.tokenPath, `${this.token}\n`);
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      this.requests += 1;
      if (request.url !== '/pods') response.writeHead(404).end();
      else if (!this.#knows(request)) response.writeHead(401).end('Unauthorized');
      else this.answer(request, response);
    });
  }

  /** Lists these pods from now on. */
  list(...pods: readonly TestPod[]): void {
    this.#pods = pods.map(podJson);
  }

  /** Ends every connection and listens no more. */
  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close').catch(() => undefined);
  }

  #knows({ headers, socket }: IncomingMessage): boolean {
    const isAuthorized = 'authorized' in socket && socket.authorized === true;
    return isAuthorized || headers.authorization === `Bearer ${this.token}`;
  }
}
