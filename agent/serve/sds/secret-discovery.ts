import type { SecretDiscoveryService } from '../../gen/envoy/service/secret/v3/sds_pb.js';
import { MayflyError } from '../../kernel/errors.ts';
import { Latest } from '../../kernel/latest.ts';
import type { Leases } from '../../lease/leases.ts';
import type { ProcessInstance } from '../../peer/instance.ts';
import type { PublishedLists } from '../../revocation/publisher.ts';
import type { Call, Handlers } from '../handlers.ts';
import type { SecretMessage } from '../secret-message.ts';
import type { Acknowledgements } from './acknowledgements.ts';
import { Delta } from './delta.ts';
import { Feed } from './feed.ts';
import type { Protocol } from './protocol.ts';
import type { SdsConfig } from './proxy.ts';
import { Proxy } from './proxy.ts';
import type { Holdable } from './secrets.ts';
import { StateOfTheWorld } from './state-of-the-world.ts';

interface Identified {
  readonly instance: ProcessInstance;
}

/** What SDS is made of. */
export interface SdsParts {
  readonly leases: Leases;
  /** As it stands; a stream keeps what it began with. */
  readonly config: () => SdsConfig;
  readonly acknowledgements: Acknowledgements;
}

const NO_LISTS: PublishedLists = Object.freeze({ crls: Object.freeze([]), number: 0 });

/**
 * Envoy's secret discovery service, on the same leases as the Workload API. It asks for no security header, which proxies cannot
 * send: what the header is to keep out, a browser or another's request forged through a proxy, does not speak xDS.
 */
export function secretDiscovery(parts: SdsParts): Handlers<typeof SecretDiscoveryService, Identified> {
  const proxyOf = ({ caller }: Call<Identified>) => new Proxy(caller.instance, parts.config(), parts.acknowledgements);
  return {
    streamSecrets(requests, call) {
      return discover(requests, new StateOfTheWorld(proxyOf(call)), 'StreamSecrets', parts.leases, call);
    },

    deltaSecrets(requests, call) {
      return discover(requests, new Delta(proxyOf(call)), 'DeltaSecrets', parts.leases, call);
    },

    async fetchSecrets(request, call) {
      const only = async function* () {
        yield request;
      };
      const protocol = new StateOfTheWorld(proxyOf(call));
      const [message] = await Array.fromAsync(discover(only(), protocol, 'FetchSecrets', parts.leases, call));
      if (message !== undefined) return message;
      throw new MayflyError('INVALID_REQUEST', 'no secret is asked for');
    },
  };
}

/**
 * One stream: takes requests as they come, and answers with what is newest whenever the last response has been taken off. So a client
 * that does not read holds up nobody and has one response waiting, and one that asks without reading is answered once.
 */
async function* discover<Request>(
  requests: AsyncIterable<Request>,
  protocol: Protocol<Request>,
  method: string,
  leases: Leases,
  { caller: { instance }, signal }: Call<Identified>,
): AsyncGenerator<Uint8Array | SecretMessage, void, undefined> {
  const { subscription } = protocol;
  const turn = new Latest<undefined>();
  using svids = new Feed((stop) => leases.of(instance).x509(stop), turn);
  using bundles = new Feed((stop) => leases.of(instance).listedBundles(stop, 'proxies'), turn);
  using subscriber = leases.deliveries.open(instance, method);
  let asked = false;
  let saidAll = false;

  const listen = async () => {
    try {
      for await (const request of requests) {
        protocol.receive(request);
        asked = true;
        svids.want(subscription.wantsSvids);
        bundles.want(subscription.wantsBundles);
        turn.set(undefined);
      }
      saidAll = true;
      turn.set(undefined);
    } catch (error) {
      turn.end(error);
    }
  };
  void listen();

  /** What is wanted, once all of it is known: until then the request waits. */
  const holdable = (): Holdable | undefined => {
    const [x509, listed] = [svids.value, bundles.value];
    if ((subscription.wantsSvids && x509 === undefined) || (subscription.wantsBundles && listed === undefined)) return;
    const held = x509?.update.svids.map(({ svid }) => svid) ?? [];
    // A key that is gone belongs to an update which another has already overtaken, or to a stream about to end.
    if (held.some(({ privateKey }) => privateKey.destroyed)) return;
    return { svids: held, bundles: listed?.[0], lists: listed?.[1] ?? NO_LISTS };
  };

  for await (const _ of turn.follow(signal)) {
    const from = asked ? holdable() : undefined;
    const response = from && protocol.next(from);
    if (response !== undefined) {
      yield response.message;
      if (response.svids.length > 0) leases.of(instance).delivered(response.svids);
      subscriber.tell({ svids: response.held.map(({ serial }) => serial), lists: from?.lists.number ?? 0 });
    }
    // The client has said its last, and has its answers.
    if (saidAll && !protocol.owing) return;
  }
}
