import { hash } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import type { DiscoveryRequest } from '../../gen/envoy/service/discovery/v3/discovery_pb.js';
import { DiscoveryResponseSchema } from '../../gen/envoy/service/discovery/v3/discovery_pb.js';
import { bytesPart, field } from '../wire-format.ts';
import type { Protocol, Response } from './protocol.ts';
import { responseOf } from './protocol.ts';
import type { Proxy } from './proxy.ts';
import type { Resource } from './resource.ts';
import { SECRET_TYPE } from './resource.ts';
import { notAuthorized } from './resource-name.ts';
import type { Holdable } from './secrets.ts';
import { Subscription } from './subscription.ts';

const RESOURCES = DiscoveryResponseSchema.field.resources.number;

/** xDS in its older way: each request names all that is wanted, and each response has all of it. */
export class StateOfTheWorld implements Protocol<DiscoveryRequest> {
  readonly subscription: Subscription;
  readonly #proxy: Proxy;
  #started = false;
  /** Whether a name was ever given, `*` among them. */
  #named = false;
  #owing = false;
  /** Of the newest response. */
  #nonce = 0;
  #version: string | undefined;
  /** The names of which the client has had a secret. */
  #had: ReadonlySet<string> = new Set();

  constructor(proxy: Proxy) {
    this.#proxy = proxy;
    this.subscription = new Subscription(proxy.names);
  }

  get owing(): boolean {
    return this.#owing;
  }

  receive(request: DiscoveryRequest): void {
    this.#proxy.heard(request);
    const { errorDetail, resourceNames, responseNonce, versionInfo } = request;
    if (this.#nonce > 0) {
      // It crossed with a newer response, which the client answers too, and then says again what it wants.
      if (responseNonce !== String(this.#nonce)) return;
      this.#proxy.acknowledged(errorDetail, resourceNames);
    }
    this.#named ||= resourceNames.length > 0;
    // That no names mean everything holds as long as none was ever named; later it says that none is wanted any more.
    if (this.#named) {
      this.#owing = this.subscription.replace(resourceNames) || this.#owing || !this.#started;
    } else if (!this.#started) {
      this.subscription.subscribeToEverything();
      this.#owing = true;
    }
    // It has had what it names from another stream.
    if (!this.#started && versionInfo !== '') this.#had = new Set(resourceNames);
    this.#started = true;
  }

  next(from: Holdable): Response | undefined {
    const { resources, missing } = this.subscription.find(from, this.#proxy.validator, (name) => this.#had.has(name));
    if (missing.length > 0) throw notAuthorized(missing);
    if (resources.length === 0) {
      // There is no response that says nothing: what is not named stays with the client.
      this.#owing = false;
      return undefined;
    }
    const version = versionOf(resources);
    if (!this.#owing && version === this.#version) return undefined;
    this.#owing = false;
    this.#version = version;
    this.#nonce += 1;
    this.#had = new Set(resources.map(({ name }) => name));
    return response(resources, version, String(this.#nonce));
  }
}

function response(resources: readonly Resource[], versionInfo: string, nonce: string): Response {
  const head = create(DiscoveryResponseSchema, { versionInfo, typeUrl: SECRET_TYPE, nonce });
  const parts = resources.map(({ any }) => field(RESOURCES, ...any));
  return responseOf([bytesPart(toBinary(DiscoveryResponseSchema, head)), ...parts], resources, resources);
}

/** The same whatever the order in which a client names them. */
function versionOf(resources: readonly Resource[]): string {
  const versions = resources.map(({ version }) => version);
  return versions.length === 1 ? versions.join() : hash('sha256', versions.toSorted().join(' ')).slice(0, 16);
}
