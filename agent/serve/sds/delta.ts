import { create, toBinary } from '@bufbuild/protobuf';
import type { DeltaDiscoveryRequest } from '../../gen/envoy/service/discovery/v3/discovery_pb.js';
import { DeltaDiscoveryResponseSchema, ResourceSchema } from '../../gen/envoy/service/discovery/v3/discovery_pb.js';
import type { Status } from '../../gen/google/rpc/status_pb.js';
import type { Part } from '../wire-format.ts';
import { bytesPart, field } from '../wire-format.ts';
import type { Protocol, Response } from './protocol.ts';
import { responseOf } from './protocol.ts';
import type { Proxy } from './proxy.ts';
import type { Resource } from './resource.ts';
import { SECRET_TYPE } from './resource.ts';
import { notAuthorized } from './resource-name.ts';
import type { Holdable } from './secrets.ts';
import { Subscription } from './subscription.ts';

const RESOURCES = DeltaDiscoveryResponseSchema.field.resources.number;
const RESOURCE = ResourceSchema.field.resource.number;

/** xDS in its newer way: requests say which names come and go, responses what has changed and what is no more. */
export class Delta implements Protocol<DeltaDiscoveryRequest> {
  readonly subscription: Subscription;
  readonly #proxy: Proxy;
  /** The version that the client has of each secret. One that was rejected counts: it is not sent again until it changes. */
  readonly #known = new Map<string, string>();
  /** Wanted by name, had, and told to be gone. */
  readonly #gone = new Set<string>();
  #started = false;
  #owing = false;
  /** Of the newest response, and the names in it. */
  #nonce = 0;
  #named: readonly string[] = [];
  /** The newest that the client has answered. */
  #answered = 0;

  constructor(proxy: Proxy) {
    this.#proxy = proxy;
    this.subscription = new Subscription(proxy.names);
  }

  get owing(): boolean {
    return this.#owing;
  }

  receive(request: DeltaDiscoveryRequest): void {
    this.#proxy.heard(request);
    const { errorDetail, initialResourceVersions, resourceNamesSubscribe, resourceNamesUnsubscribe } = request;
    this.#answer(request.responseNonce, errorDetail);
    this.subscription.subscribe(resourceNamesSubscribe);
    this.subscription.unsubscribe(resourceNamesUnsubscribe);
    for (const name of [...this.#known.keys(), ...this.#gone]) if (!this.subscription.has(name)) this.#forget(name);
    // Who asks again for what it has wants to be sent it again.
    for (const name of resourceNamesSubscribe) this.#forget(name);
    if (!this.#started) {
      this.#started = true;
      if (resourceNamesSubscribe.length === 0) this.subscription.subscribeToEverything();
      // Beyond what it asks for, it may have said anything.
      for (const [name, version] of Object.entries(initialResourceVersions)) {
        if (this.subscription.has(name)) this.#known.set(name, version);
      }
    }
    if (resourceNamesSubscribe.length > 0) this.#owing = true;
  }

  next(from: Holdable): Response | undefined {
    this.#owing = false;
    const { resources, missing } = this.subscription.find(from, this.#proxy.validator, (name) => this.#known.has(name));
    const never = missing.filter((name) => !this.#known.has(name) && !this.#gone.has(name));
    if (never.length > 0) throw notAuthorized(never);
    const changed = resources.filter(({ name, version }) => this.#known.get(name) !== version);
    const found = new Set(resources.map(({ name }) => name));
    const removed = [...this.#known.keys()].filter((name) => !found.has(name));
    if (changed.length === 0 && removed.length === 0) return undefined;
    for (const { name, version } of changed) {
      this.#known.set(name, version);
      this.#gone.delete(name);
    }
    for (const name of removed) this.#known.delete(name);
    for (const name of missing) this.#gone.add(name);
    this.#nonce += 1;
    this.#named = changed.map(({ name }) => name);
    return response(changed, removed, String(this.#nonce), resources);
  }

  /** A nonce that was never sent, or was answered already, says nothing. */
  #answer(responseNonce: string, errorDetail: Status | undefined): void {
    const nonce = Number(responseNonce);
    if (!Number.isInteger(nonce) || nonce <= this.#answered || nonce > this.#nonce) return;
    this.#answered = nonce;
    this.#proxy.acknowledged(errorDetail, this.#named);
  }

  #forget(name: string): void {
    this.#known.delete(name);
    this.#gone.delete(name);
  }
}

function response(
  changed: readonly Resource[],
  removedResources: readonly string[],
  nonce: string,
  all: readonly Resource[],
): Response {
  const head = create(DeltaDiscoveryResponseSchema, {
    typeUrl: SECRET_TYPE,
    nonce,
    removedResources: [...removedResources],
  });
  const parts = [bytesPart(toBinary(DeltaDiscoveryResponseSchema, head)), ...changed.map(resourcePart)];
  return responseOf(parts, changed, all);
}

function resourcePart({ any, name, version }: Resource): Part {
  const named = toBinary(ResourceSchema, create(ResourceSchema, { name, version }));
  return field(RESOURCES, bytesPart(named), field(RESOURCE, ...any));
}
