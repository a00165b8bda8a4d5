import type { Config } from './envoy.ts';

/** How an Envoy is told of changes: everything each time, or what has changed. */
export type Variant = 'GRPC' | 'DELTA_GRPC';

/** What an Envoy has of the agent. */
export interface Identity {
  /** Names of secrets. */
  readonly certificate: string;
  readonly peers: string;
  readonly variant: Variant;
  /** What it says as `:authority`; the name of its cluster by default. */
  readonly authority?: string;
  /** Whether it says its node in the first request of a stream alone, as Istio's do. */
  readonly nodeOnce?: boolean;
}

const API = 'type.googleapis.com/envoy';
const TLS = 'extensions.transport_sockets.tls.v3';
const HTTP = 'extensions.filters.http';
const AGENT = 'mayfly';

/** The configuration of an Envoy that has its secrets from an agent. */
export function bootstrap(
  socket: string,
  resources: { readonly listeners: readonly Config[]; readonly clusters?: readonly Config[] },
  metadata: Config = {},
): Config {
  const agent = { ...cluster(AGENT, { pipe: { path: socket } }), ...protocol({ http2_protocol_options: {} }) };
  return {
    node: { id: 'envoy-1', cluster: 'interop', metadata },
    static_resources: { listeners: resources.listeners, clusters: [agent, ...(resources.clusters ?? [])] },
  };
}

/**
 * A server on a free port of loopback.
 *
 * @param identity makes it one that demands a certificate; plain HTTP without
 * @param more of its TLS
 */
export function listener(
  name: string,
  route: Config,
  identity?: Identity,
  filters: readonly Config[] = [],
  more: Config = {},
): Config {
  const manager = typed('http', 'extensions.filters.network.http_connection_manager.v3.HttpConnectionManager', {
    stat_prefix: name,
    http_filters: [...filters, typed('router', `${HTTP}.router.v3.Router`)],
    route_config: {
      // Who came, for the test to see.
      response_headers_to_add: [
        { header: { key: 'x-peer', value: '%DOWNSTREAM_PEER_URI_SAN%' } },
        { header: { key: 'x-peer-serial', value: '%DOWNSTREAM_PEER_SERIAL%' } },
      ],
      virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, ...route }] }],
    },
  });
  const tls = identity && {
    transport_socket: typed('tls', `${TLS}.DownstreamTlsContext`, {
      require_client_certificate: true,
      common_tls_context: secrets(identity),
      ...more,
    }),
  };
  return { name, stat_prefix: name, address: address(0), filter_chains: [{ filters: [manager], ...tls }] };
}

/** A server of TLS. @param once whether each request is to have a connection of its own */
export function upstream(
  name: string,
  port: number,
  identity: Identity,
  { peer, once = false }: { readonly peer?: string; readonly once?: boolean } = {},
): Config {
  const limits = once ? { common_http_protocol_options: { max_requests_per_connection: 1 } } : {};
  return {
    ...cluster(name, address(port)),
    ...protocol({ http_protocol_options: {} }, limits),
    transport_socket: typed('tls', `${TLS}.UpstreamTlsContext`, { common_tls_context: secrets(identity, peer) }),
  };
}

/** A route that answers by itself. */
export function answer(body: string): Config {
  return { direct_response: { status: 200, body: { inline_string: body } } };
}

/** A route to a cluster. */
export function to(name: string): Config {
  return { route: { cluster: name } };
}

/** A filter that lets pass whose certificate has one of these SPIFFE IDs. */
export function allow(...ids: readonly string[]): Config {
  const principals = ids.map((id) => ({ authenticated: { principal_name: { exact: id } } }));
  const policies = { peers: { permissions: [{ any: true }], principals } };
  return typed('rbac', `${HTTP}.rbac.v3.RBAC`, { rules: { action: 'ALLOW', policies } });
}

function secrets(identity: Identity, peer?: string): Config {
  const { certificate, peers } = identity;
  const validation = { name: peers, sds_config: source(identity) };
  return {
    tls_certificate_sds_secret_configs: [{ name: certificate, sds_config: source(identity) }],
    ...(peer === undefined
      ? { validation_context_sds_secret_config: validation }
      : {
          combined_validation_context: {
            default_validation_context: {
              match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: peer } }],
            },
            validation_context_sds_secret_config: validation,
          },
        }),
  };
}

function source({ variant, authority, nodeOnce = false }: Identity): Config {
  // Without it a stream that ended is opened again after up to half a minute.
  const retry = { retry_back_off: { base_interval: '0.1s', max_interval: '1s' } };
  return {
    resource_api_version: 'V3',
    api_config_source: {
      api_type: variant,
      transport_api_version: 'V3',
      set_node_on_first_message_only: nodeOnce,
      grpc_services: [{ envoy_grpc: { cluster_name: AGENT, authority, retry_policy: retry } }],
    },
  };
}

function cluster(name: string, at: Config): Config {
  const endpoints = [{ lb_endpoints: [{ endpoint: { address: at } }] }];
  return { name, connect_timeout: '1s', load_assignment: { cluster_name: name, endpoints } };
}

function protocol(explicit: Config, rest: Config = {}): Config {
  const name = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';
  return {
    typed_extension_protocol_options: {
      [name]: { '@type': `type.googleapis.com/${name}`, explicit_http_config: explicit, ...rest },
    },
  };
}

function address(port: number): Config {
  return { socket_address: { address: '127.0.0.1', port_value: port } };
}

function typed(name: string, type: string, config: Config = {}): Config {
  return { name, typed_config: { '@type': `${API}.${type}`, ...config } };
}
