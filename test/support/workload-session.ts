import { createHash, createPrivateKey, type X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { connect as connectTls, createServer, type PeerCertificate, type TLSSocket } from 'node:tls';
import { isDeepStrictEqual } from 'node:util';
import type {
  DescMessage,
  DescMethod,
  DescMethodServerStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from '@bufbuild/protobuf';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { certificatesIn } from '../../agent/cli/x509-identity.ts';
import { SecretDiscoveryService } from '../../agent/gen/envoy/service/secret/v3/sds_pb.js';
import { WorkloadExtension } from '../../agent/gen/workload_extension_pb.js';
import { SpiffeWorkloadAPI, type WITSVIDResponse, type X509SVIDResponse } from '../../agent/gen/workload_pb.js';
import { checked, libc } from '../../agent/peer/system/native.ts';
import { readCrls } from './crl-reader.ts';
import type { Said, SaidWit } from './workload-said.ts';

interface Material {
  readonly cert: string;
  readonly key: string;
  readonly ca: string[];
}

const SYS_UNSHARE = process.arch === 'arm64' ? 97 : 272;
const CLONE_NEWUTS = 0x04000000;

const METHODS = SpiffeWorkloadAPI.method;

/** What a workload does at a command, with real gRPC connections of its own. */
export class WorkloadSession {
  readonly #socket: string;
  readonly #say: (said: Said) => void;
  readonly #clients = new Map<string, Client>();
  #material: Material | undefined;
  #streams = 0;

  constructor(socket: string, say: (said: Said) => void) {
    this.#socket = socket;
    this.#say = say;
  }

  /** Commands: see the cases. `connection` is a name; each has a connection of its own. */
  async obey([command = '', ...args]: readonly string[]): Promise<void> {
    switch (command) {
      case 'x509':
        return this.#follow('x509', METHODS.fetchX509SVID, args[0], (response) => this.#describe(response));
      case 'bundles':
        return this.#follow('bundles', METHODS.fetchX509Bundles, args[0], ({ bundles, crl }) => ({
          domains: Object.keys(bundles),
          crls: readCrls(crl),
          at: performance.timeOrigin + performance.now(),
        }));
      case 'secrets':
        return this.#secrets(args[0], args[1]);
      case 'wit':
        return this.#follow('wit', METHODS.fetchWITSVID, args[0], describeWit);
      case 'validate-wit':
        return this.#validateWit(args[0] ?? '');
      case 'jwt':
        return this.#token(args[0] ?? '', args[1]);
      case 'validate':
        return this.#validate(args[0] ?? '', args[1] ?? '');
      case 'key':
        return this.#say({ event: 'key', scalar: this.#scalar() });
      case 'idle':
        return this.#idle();
      case 'unread':
        return this.#unread();
      case 'serve':
        return this.#serve();
      case 'dial':
        return this.#dial(Number(args[0]), args[1] ?? '');
      case 'exec':
        process.execve?.('/bin/sleep', ['sleep', '600'], process.env);
        return;
      case 'unshare':
        // Another UTS namespace, which takes root.
        checked('unshare', libc.syscall(SYS_UNSHARE, CLONE_NEWUTS, 0));
        return;
      case 'leave':
        return this.#leave(args[0] ?? '');
      default:
        throw new Error(`no such command: ${command}`);
    }
  }

  #follow<O extends DescMessage>(
    event: 'x509' | 'bundles' | 'wit',
    method: DescMethodServerStreaming<DescMessage, O>,
    connection: string | undefined,
    describe: (response: MessageShape<O>) => object,
  ): void {
    const stream = ++this.#streams;
    const call = this.#client(connection).makeServerStreamRequest(
      `/${method.parent.typeName}/${method.name}`,
      () => Buffer.from(toBinary(method.input, create(method.input))),
      (bytes) => fromBinary(method.output, bytes),
      {},
      header(),
    );
    call.on('data', (response: MessageShape<O>) => this.#say({ event, stream, ...describe(response) } as Said));
    call.on('error', (error: ServiceError) => this.#say({ event: 'end', stream, ...statusOf(error) }));
    call.on('end', () => this.#say({ event: 'end', stream, code: 'OK', details: '' }));
  }

  /** Asks for the first identity by SDS, in one of its ways; says how many secrets came. */
  #secrets(way = 'stream', connection?: string): void {
    const { deltaSecrets, fetchSecrets, streamSecrets } = SecretDiscoveryService.method;
    const names = ['default'];
    if (way === 'delta') this.#askSecrets(deltaSecrets, { resourceNamesSubscribe: names }, connection);
    else if (way === 'fetch') this.#askSecrets(fetchSecrets, { resourceNames: names }, connection).end();
    else this.#askSecrets(streamSecrets, { resourceNames: names }, connection);
  }

  #askSecrets<M extends DescMethod>(method: M, request: MessageInitShape<M['input']>, connection?: string) {
    const call = this.#client(connection).makeBidiStreamRequest(
      `/${method.parent.typeName}/${method.name}`,
      (message: MessageInitShape<M['input']>) => Buffer.from(toBinary(method.input, create(method.input, message))),
      (bytes) => fromBinary(method.output, bytes),
      new Metadata(),
    );
    call.on('data', ({ resources }: { resources: readonly unknown[] }) => {
      this.#say({ event: 'secrets', count: resources.length });
    });
    call.on('error', () => undefined);
    call.write(request);
    return call;
  }

  #describe({ svids, federatedBundles, crl }: X509SVIDResponse) {
    const [first] = svids;
    if (first === undefined) throw new Error('an update without an identity');
    const chain = certificatesIn(first.x509Svid);
    const [leaf] = chain;
    if (leaf === undefined) throw new Error('an identity without a certificate');
    const roots = certificatesIn(first.bundle);
    const key = createPrivateKey({ key: Buffer.from(first.x509SvidKey), format: 'der', type: 'pkcs8' });
    if (!leaf.checkPrivateKey(key)) throw new Error('a private key that is not the certificate’s');
    this.#material = {
      cert: chain.join(''),
      key: key.export({ format: 'pem', type: 'pkcs8' }),
      ca: roots.map(String),
    };
    return {
      ids: svids.map(({ spiffeId }) => spiffeId),
      hints: svids.map(({ hint }) => hint),
      serial: leaf.serialNumber.toLowerCase(),
      key: createHash('sha256')
        .update(leaf.publicKey.export({ format: 'der', type: 'spki' }))
        .digest('hex'),
      notBefore: leaf.validFromDate.getTime(),
      notAfter: leaf.validToDate.getTime(),
      chain: chain.join(''),
      roots: roots.join(''),
      crls: readCrls(crl),
      federated: Object.fromEntries(
        Object.entries(federatedBundles).map(([id, der]) => [id, certificatesIn(der).map(fingerprint)]),
      ),
    };
  }

  #scalar(): string {
    const { d } = createPrivateKey(this.#material?.key ?? '').export({ format: 'jwk' });
    return Buffer.from(d ?? '', 'base64url').toString('hex');
  }

  async #token(audience: string, connection: string | undefined): Promise<void> {
    this.#say(
      await this.#ask(METHODS.fetchJWTSVID, { audience: [audience] }, connection, ({ svids }, ms) => ({
        event: 'jwt',
        ms,
        tokens: svids.map(({ svid }) => svid),
      })),
    );
  }

  async #validate(svid: string, audience: string): Promise<void> {
    this.#say(
      await this.#ask(METHODS.validateJWTSVID, { svid, audience }, undefined, ({ spiffeId }) => ({
        event: 'validated',
        id: spiffeId,
      })),
    );
  }

  async #validateWit(svid: string): Promise<void> {
    this.#say(
      await this.#ask(WorkloadExtension.method.validateWITSVID, { svid }, undefined, ({ spiffeId }) => ({
        event: 'validated',
        id: spiffeId,
      })),
    );
  }

  #ask<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    connection: string | undefined,
    answer: (response: MessageShape<O>, ms: number) => Said,
  ): Promise<Said> {
    const { promise, resolve } = Promise.withResolvers<Said>();
    const start = performance.now();
    this.#client(connection).makeUnaryRequest(
      `/${method.parent.typeName}/${method.name}`,
      (message: MessageInitShape<I>) => Buffer.from(toBinary(method.input, create(method.input, message))),
      (bytes) => fromBinary(method.output, bytes),
      request,
      header(),
      (error, response) => {
        const ms = performance.now() - start;
        if (error !== null) resolve({ event: 'refused', ms, ...statusOf(error) });
        else if (response !== undefined) resolve(answer(response, ms));
      },
    );
    return promise;
  }

  /** Opens a connection and asks nothing. */
  async #idle(): Promise<void> {
    const socket = connect(this.#socket).resume();
    socket.on('error', () => undefined);
    socket.on('close', () => this.#say({ event: 'closed' }));
    await once(socket, 'connect');
    this.#say({ event: 'connected' });
  }

  /** Asks for a stream and gives the server no room to answer in. */
  async #unread(): Promise<void> {
    const session = connectHttp2('http://localhost', {
      settings: { initialWindowSize: 0 },
      createConnection: () => connect(this.#socket),
    });
    session.on('error', () => undefined);
    session.on('close', () => this.#say({ event: 'closed' }));
    await once(session, 'remoteSettings');
    const stream = session.request({
      ':method': 'POST',
      ':path': `/${METHODS.fetchX509SVID.parent.typeName}/${METHODS.fetchX509SVID.name}`,
      'content-type': 'application/grpc',
      te: 'trailers',
      'workload.spiffe.io': 'true',
    });
    stream.on('error', () => undefined);
    stream.end(Buffer.alloc(5));
    await once(stream, 'response');
    this.#say({ event: 'connected' });
  }

  /** Serves TLS with the newest identity, and says who came. */
  async #serve(): Promise<void> {
    const server = createServer({ ...this.#material, requestCert: true, rejectUnauthorized: true });
    server.on('secureConnection', (socket: TLSSocket) => {
      this.#say({ event: 'accepted', peer: uriOf(socket.getPeerCertificate()) });
      socket.end('hello');
    });
    server.on('tlsClientError', (error) => this.#say({ event: 'rejected', reason: error.message }));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    this.#say({ event: 'serving', port: typeof address === 'object' ? (address?.port ?? 0) : 0 });
  }

  /** Dials a TLS server with the newest identity, and talks to nobody but `expected`. */
  async #dial(port: number, expected: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<Said>();
    let peer = '';
    const socket = connectTls({
      ...this.#material,
      port,
      host: '127.0.0.1',
      rejectUnauthorized: true,
      checkServerIdentity: (_host, certificate) => {
        peer = uriOf(certificate);
        return peer === expected ? undefined : new Error(`it is ${peer}, not ${expected}`);
      },
    });
    // What the server says comes after it has verified the client.
    socket.once('data', () => resolve({ event: 'dialed', peer }));
    socket.once('error', (error) => resolve({ event: 'rejected', reason: error.message }));
    this.#say(await promise);
    socket.destroy();
  }

  /** Leaves an open connection to a child, and ends. */
  async #leave(program: string): Promise<void> {
    const { spawn } = await import('node:child_process');
    const socket = connect(this.#socket);
    await once(socket, 'connect');
    const child = spawn(process.execPath, [program, String(process.pid)], {
      stdio: ['ignore', 'inherit', 'inherit', socket],
      detached: true,
    });
    child.once('spawn', () => process.exit(0));
  }

  #client(connection = 'first'): Client {
    let client = this.#clients.get(connection);
    if (client === undefined) {
      // grpc-js would share one connection among all clients of a process.
      client = new Client(`unix:${this.#socket}`, credentials.createInsecure(), {
        'grpc.use_local_subchannel_pool': 1,
        // What java-spiffe and py-spiffe say, which the agent has to rewrite.
        ...(connection === 'rewritten' && { 'grpc.default_authority': this.#socket }),
      });
      this.#clients.set(connection, client);
    }
    return client;
  }
}

/** What the token says of the key has to be so of the key that came with it. */
function describeWit({ svids }: WITSVIDResponse): Omit<SaidWit, 'event' | 'stream'> {
  const [first] = svids;
  if (first === undefined) throw new Error('an update without an identity');
  const claims = JSON.parse(Buffer.from(first.witSvid.split('.')[1] ?? '', 'base64url').toString());
  const { d, ...confirmed } = JSON.parse(first.witSvidKey);
  if (!isDeepStrictEqual(claims.cnf, { jwk: confirmed })) throw new Error('a key that the token does not confirm');
  return { ids: svids.map(({ spiffeId }) => spiffeId), token: first.witSvid, jti: claims.jti, secret: d };
}

function header(): Metadata {
  const metadata = new Metadata();
  metadata.set('workload.spiffe.io', 'true');
  return metadata;
}

function statusOf({ code, details }: ServiceError): { code: string; details: string } {
  return { code: status[code], details };
}

function uriOf({ subjectaltname }: PeerCertificate): string {
  return /URI:([^,]+)/.exec(subjectaltname ?? '')?.[1] ?? '';
}

function fingerprint(certificate: X509Certificate): string {
  return certificate.fingerprint256;
}
