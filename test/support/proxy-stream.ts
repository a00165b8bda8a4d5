import type { Any } from '@bufbuild/protobuf/wkt';
import { SecretDiscoveryService } from '../../agent/gen/envoy/service/secret/v3/sds_pb.js';
import type { GrpcCaller, Told } from './grpc-caller.ts';
import type { ReadSecret } from './secrets-read.ts';
import { readSecret } from './secrets-read.ts';

const typeUrl = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';
// As much as Envoy says of itself, which it says in every request.
const node = { id: 'envoy-1', cluster: 'crowd', metadata: { extensions: 'x'.repeat(19_000) } };

/** A stream for one secret, as Envoy has one for each: what comes is taken over and acknowledged. */
export class ProxyStream {
  readonly #received: (Any | undefined)[] = [];
  readonly ended: Promise<Told>;
  over = false;
  readonly cancel: () => void;

  constructor(caller: GrpcCaller, name: string, way: 'state of the world' | 'delta') {
    const stream = way === 'delta' ? this.#delta(caller, name) : this.#stateOfTheWorld(caller, name);
    this.ended = stream.ended.finally(() => {
      this.over = true;
    });
    this.cancel = () => stream.cancel();
  }

  /** How many it was told. */
  get count(): number {
    return this.#received.length;
  }

  /** All that it was told, oldest first. */
  get secrets(): ReadSecret[] {
    return this.#received.map(readSecret);
  }

  get newest(): ReadSecret {
    return readSecret(this.#received.at(-1));
  }

  #delta(caller: GrpcCaller, name: string) {
    const stream = caller.duplex(SecretDiscoveryService.method.deltaSecrets, ({ resources, nonce }) => {
      this.#received.push(...resources.map(({ resource }) => resource));
      stream.send({ node, typeUrl, responseNonce: nonce });
    });
    stream.send({ node, typeUrl, resourceNamesSubscribe: [name] });
    return stream;
  }

  #stateOfTheWorld(caller: GrpcCaller, name: string) {
    const request = { node, typeUrl, resourceNames: [name] };
    const stream = caller.duplex(SecretDiscoveryService.method.streamSecrets, ({ resources, versionInfo, nonce }) => {
      this.#received.push(...resources);
      stream.send({ ...request, versionInfo, responseNonce: nonce });
    });
    stream.send(request);
    return stream;
  }
}
