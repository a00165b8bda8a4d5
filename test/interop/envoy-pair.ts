import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import type { Agent } from './agent.ts';
import { TRUST_DOMAIN } from './agent.ts';
import { Envoy } from './envoy.ts';
import type { Identity, Variant } from './envoy-config.ts';
import { allow, answer, bootstrap, listener, to, upstream } from './envoy-config.ts';
import type { Equipment } from './equipment.ts';

/** What an HTTP server says, and what an Envoy tells of who asked it. */
export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly peer: string | undefined;
  readonly serial: string | undefined;
}

export interface PairOptions {
  /** Metadata of both nodes. */
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** By default it asks for `default` and `ROOTCA`. */
  readonly identity?: Partial<Identity>;
  /** SPIFFE IDs that the server lets in; by default that of the client. */
  readonly allowed?: readonly string[];
  readonly socket?: string;
}

interface User {
  readonly uid: number;
  readonly gid: number;
}

// They need not exist: processes are told apart by number.
export const WEB: User = { uid: 64_111, gid: 64_111 };
export const API: User = { uid: 64_112, gid: 64_112 };

export const idOf = (name: string): string => `spiffe://${TRUST_DOMAIN}/${name}`;

/** Two Envoys that speak mTLS: plain HTTP into `web` comes out of `api`, on a connection of its own for each request. */
export class EnvoyPair implements AsyncDisposable {
  readonly web: Envoy;
  readonly api: Envoy;
  /** Where `web` takes plain HTTP. */
  readonly entrance: number;
  /** Where `api` takes mTLS. */
  readonly port: number;
  readonly #both: AsyncDisposableStack;

  private constructor(web: Envoy, api: Envoy, ports: { entrance: number; port: number }, both: AsyncDisposableStack) {
    this.web = web;
    this.api = api;
    this.entrance = ports.entrance;
    this.port = ports.port;
    this.#both = both;
  }

  static async start(
    envoy: Equipment,
    agent: Agent,
    variant: Variant,
    { metadata = {}, identity: asked = {}, allowed = [idOf('web')], socket = agent.socket }: PairOptions = {},
  ): Promise<EnvoyPair> {
    const identity = { certificate: 'default', peers: 'ROOTCA', variant, ...asked };
    const server = listener('mtls', answer('hello'), identity, [allow(...allowed)]);
    await using both = new AsyncDisposableStack();
    const api = both.use(await Envoy.start(envoy, bootstrap(socket, { listeners: [server] }, metadata), API));
    const port = await api.port('mtls');
    const resources = {
      listeners: [listener('entrance', to('api'))],
      clusters: [upstream('api', port, identity, { peer: idOf('api'), once: true })],
    };
    const web = both.use(await Envoy.start(envoy, bootstrap(socket, resources, metadata), WEB));
    return new EnvoyPair(web, api, { entrance: await web.port('entrance'), port }, both.move());
  }

  /** A request through both. */
  ask(): Promise<Answer> {
    return ask(this.entrance);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#both[Symbol.asyncDispose]();
  }
}

/** Asks an HTTP server of this machine. */
export async function ask(port: number): Promise<Answer> {
  const [response] = (await once(get({ host: '127.0.0.1', port }), 'response')) as [IncomingMessage];
  const header = (name: string) => response.headers[name]?.toString();
  return {
    status: response.statusCode ?? 0,
    body: await text(response),
    peer: header('x-peer'),
    serial: header('x-peer-serial'),
  };
}
