import { formatDuration } from '../kernel/duration.ts';
import { isLocal, parseListenAddress } from './listen-address.ts';
import type { Contradiction, DocumentPath } from './problem.ts';
import type { ConfigDocument } from './schema.ts';

/** sockaddr_un(7): 108 bytes with the NUL at the end. */
const MAX_SOCKET_PATH_BYTES = 107;

/** What cannot go together, each with its reason. `config` has its paths resolved. */
export function contradictions(config: ConfigDocument): readonly Contradiction[] {
  return [
    ...lifetimes(config),
    ...paths(config),
    ...limits(config),
    ...ledger(config),
    ...bundles(config),
    ...sds(config),
    ...k8s(config),
    ...metrics(config),
  ];
}

function* lifetimes({ authority, defaults, policy }: ConfigDocument): Generator<Contradiction> {
  for (const kind of ['x509_svid_ttl', 'jwt_svid_ttl', 'wit_svid_ttl'] as const) {
    if (defaults[kind] > policy[`max_${kind}`]) {
      yield {
        paths: [
          ['defaults', kind],
          ['policy', `max_${kind}`],
        ],
        message: `defaults.${kind} (${formatDuration(defaults[kind])}) is above policy.max_${kind} (${formatDuration(policy[`max_${kind}`])}), so that nothing would ever last that long; lower the one or raise the other`,
      };
    }
  }
  // Successors are published before they sign, and nothing outlives its signer: in a signer's lifetime this many ordinary lifetimes
  // have to fit, or what it signs would be cut short.
  const signers = [
    [['authority', 'ca_ttl'], authority.ca_ttl, 2, ['defaults', 'x509_svid_ttl'], defaults.x509_svid_ttl],
    [['authority', 'jwt_key_ttl'], authority.jwt_key_ttl, 3, ['defaults', 'jwt_svid_ttl'], defaults.jwt_svid_ttl],
    [['authority', 'wit_key_ttl'], authority.wit_key_ttl, 3, ['defaults', 'wit_svid_ttl'], defaults.wit_svid_ttl],
    [['authority', 'root_ttl'], authority.root_ttl, 2, ['authority', 'ca_ttl'], authority.ca_ttl],
  ] as const;
  for (const [signer, signerTtl, times, signed, signedTtl] of signers) {
    if (signerTtl >= times * signedTtl) continue;
    yield {
      paths: [signer, signed],
      message: `${signer.join('.')} (${formatDuration(signerTtl)}) is less than ${times === 2 ? 'twice' : 'three times'} ${signed.join('.')} (${formatDuration(signedTtl)}): nothing outlives its signer, and a signer is replaced before its end; raise the one or lower the other`,
    };
  }
}

function* paths(config: ConfigDocument): Generator<Contradiction> {
  const sockets: readonly (readonly [name: string, path: string, at: DocumentPath])[] = [
    ['socket', config.socket, ['socket']],
    ...config.sockets.map(({ path }, index) => [`sockets[${index}]`, path, ['sockets', index, 'path']] as const),
    ['admin_socket', config.admin_socket, ['admin_socket']],
    ...(config.metrics.listen.startsWith('/')
      ? [['metrics.listen', config.metrics.listen, ['metrics', 'listen']] as const]
      : []),
  ];
  for (const [, path, at] of sockets) {
    const bytes = Buffer.byteLength(path);
    if (bytes > MAX_SOCKET_PATH_BYTES) {
      yield {
        paths: [at],
        message: `the path has ${bytes} bytes and a socket's has at most ${MAX_SOCKET_PATH_BYTES}; choose a shorter one`,
      };
    }
  }
  const all = [...sockets, ['data_dir', config.data_dir, ['data_dir']] as const];
  for (const [index, [one, path, at]] of all.entries()) {
    for (const [other, otherPath, otherAt] of all.slice(index + 1)) {
      if (path !== otherPath) continue;
      yield { paths: [otherAt, at], message: `${one} and ${other} are the same path; give each its own` };
    }
  }
}

function* limits({ peer }: ConfigDocument): Generator<Contradiction> {
  if (peer.max_connections_per_uid > peer.max_connections) {
    yield {
      paths: [
        ['peer', 'max_connections_per_uid'],
        ['peer', 'max_connections'],
      ],
      message: `peer.max_connections_per_uid (${peer.max_connections_per_uid}) is above peer.max_connections (${peer.max_connections}) and would never be reached; lower it`,
    };
  }
}

function* ledger({ ledger }: ConfigDocument): Generator<Contradiction> {
  if (ledger.max_size < 4 * ledger.segment_size) {
    yield {
      paths: [
        ['ledger', 'max_size'],
        ['ledger', 'segment_size'],
      ],
      message: `ledger.max_size (${ledger.max_size} bytes) is less than four times ledger.segment_size (${ledger.segment_size} bytes), and the newest files are never removed; raise the one or lower the other`,
    };
  }
}

function* bundles(config: ConfigDocument): Generator<Contradiction> {
  const seen = new Set<string>();
  for (const [index, bundle] of config.bundles.entries()) {
    const path = ['bundles', index, 'trust_domain'];
    if (bundle.trust_domain === config.trust_domain) {
      yield {
        paths: [path],
        message: `${bundle.trust_domain} is the agent's own trust domain, whose bundle its authority makes; name another`,
      };
    } else if (seen.has(bundle.trust_domain)) {
      yield { paths: [path], message: `${bundle.trust_domain} has a bundle above already; a trust domain has one` };
    }
    seen.add(bundle.trust_domain);
  }
}

function* sds({ sds }: ConfigDocument): Generator<Contradiction> {
  const keys = ['default_svid_name', 'default_bundle_name', 'default_all_bundles_name'] as const;
  for (const [index, one] of keys.entries()) {
    for (const other of keys.slice(index + 1)) {
      if (sds[one] !== sds[other]) continue;
      yield {
        paths: [
          ['sds', other],
          ['sds', one],
        ],
        message: `sds.${one} and sds.${other} are both ${sds[one]}; a name can mean one of them`,
      };
    }
  }
}

function* k8s({ attestors }: ConfigDocument): Generator<Contradiction> {
  const { certificate_path: certificate, private_key_path: key } = attestors.k8s;
  if ((certificate === '') === (key === '')) return;
  yield {
    paths: [
      ['attestors', 'k8s', 'certificate_path'],
      ['attestors', 'k8s', 'private_key_path'],
    ],
    message:
      'attestors.k8s.certificate_path and attestors.k8s.private_key_path are of no use without each other; give both or neither',
  };
}

function* metrics({ metrics: { allow_remote: allowed, listen } }: ConfigDocument): Generator<Contradiction> {
  const address = parseListenAddress(listen);
  if (allowed || typeof address === 'string' || isLocal(address)) return;
  yield {
    paths: [
      ['metrics', 'listen'],
      ['metrics', 'allow_remote'],
    ],
    message: `${listen} can be reached from other machines, which then read without a password how the agent does; write metrics.allow_remote: true if they may, or listen on 127.0.0.1`,
  };
}
