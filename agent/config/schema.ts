import * as v from 'valibot';
import { attestors } from './attestor-schema.ts';
import { fileMode, filePath, glob, list, listenAddress, mapping, secretName, trustDomain } from './field.ts';
import { bytes, choice, count, flag, type KeyNote, key, kind, path, ttl } from './key.ts';

/** The shortest lifetime of an SVID: below it the next renewal is due before clients have taken over the last one. */
const MIN_SVID_TTL = '5s';

const svidTtl = ttl(MIN_SVID_TTL, '7d');
const authorityTtl = ttl('10s', '36500d');

const authority = mapping({
  type: key(
    choice('local'),
    'local',
    'restart',
    'Who signs. `local`: a root and an issuing CA of its own, whose keys lie in `data_dir`.',
  ),
  key_type: key(
    choice('ec-p256', 'ec-p384'),
    'ec-p256',
    'restart',
    'The keys of the root, of the issuing CA, for JWT-SVIDs and for WIT-SVIDs.',
  ),
  root_ttl: key(authorityTtl, '3650d', 'restart', 'How long a root is valid. At least twice `authority.ca_ttl`.'),
  ca_ttl: key(
    authorityTtl,
    '24h',
    'restart',
    'How long an issuing CA is valid. At least twice `defaults.x509_svid_ttl`.',
  ),
  jwt_key_ttl: key(
    authorityTtl,
    '24h',
    'restart',
    'How long a key for JWT-SVIDs is in use. At least three times `defaults.jwt_svid_ttl`.',
  ),
  wit_key_ttl: key(
    authorityTtl,
    '24h',
    'restart',
    'How long a key for WIT-SVIDs is in use. At least three times `defaults.wit_svid_ttl`.',
  ),
  name_constraint: key(
    flag,
    false,
    'restart',
    'Whether the issuing CA carries a URI name constraint for the trust domain. OpenSSL and Go enforce it; rustls refuses every certificate under such a CA.',
  ),
});

const wit = mapping({
  enabled: key(
    flag,
    true,
    'restart',
    'Whether WIT-SVIDs are issued. `false`: the calls for them answer UNIMPLEMENTED, and no key for them is made or published, which tells verifiers that the trust domain has none.',
  ),
});

const defaults = mapping({
  x509_svid_ttl: key(svidTtl, '1h', 'reload', 'How long an X.509-SVID is valid unless its entry says otherwise.'),
  jwt_svid_ttl: key(svidTtl, '5m', 'reload', 'How long a JWT-SVID is valid unless its entry says otherwise.'),
  wit_svid_ttl: key(svidTtl, '1h', 'reload', 'How long a WIT-SVID is valid unless its entry says otherwise.'),
});

const policy = mapping({
  max_x509_svid_ttl: key(
    svidTtl,
    '24h',
    'reload',
    'No X.509-SVID is valid for longer, whatever its entry says. At least `defaults.x509_svid_ttl`.',
  ),
  max_jwt_svid_ttl: key(
    svidTtl,
    '1h',
    'reload',
    'No JWT-SVID is valid for longer, whatever its entry says. At least `defaults.jwt_svid_ttl`.',
  ),
  max_wit_svid_ttl: key(
    svidTtl,
    '24h',
    'reload',
    'No WIT-SVID is valid for longer, whatever its entry says. At least `defaults.wit_svid_ttl`.',
  ),
  max_audiences: key(count(1000), 16, 'reload', 'The most audiences of one JWT-SVID.'),
  max_tokens: key(
    count(10_000_000),
    100_000,
    'reload',
    'The most JWT-SVIDs of one entry that one process may have at a time. Each is remembered until it expires, so that it can be revoked.',
  ),
  require_owner: key(flag, false, 'reload', 'Whether an entry without `owner` is refused.'),
});

const revocation = mapping({
  max_bytes: key(
    bytes('4KiB', '2MiB'),
    '128KiB',
    'reload',
    'The budget of the revocation lists. Where the deaths of short-lived processes would outgrow it, the first certificates of their entries get shorter.',
  ),
  min_x509_svid_ttl: key(
    svidTtl,
    '10s',
    'reload',
    'No X.509-SVID gets shorter than this for the sake of the budget, unless its entry asks for less.',
  ),
  x509_svid_interval: key(
    ttl('100ms', '1h'),
    '1s',
    'reload',
    'How often at most followers of X.509-SVIDs are told of a change in the lists alone, since their clients reload files and TLS contexts. Followers of bundles are told at once.',
  ),
  sds_interval: key(
    ttl('10ms', '1h'),
    '200ms',
    'reload',
    'How often at most proxies are told of a change in the lists, since they make their TLS contexts anew. The first change after a quiet time is told at once.',
  ),
  max_push_rate: key(
    bytes('64KiB', '1GiB'),
    '32MiB',
    'reload',
    'How many bytes of lists are sent in a second, over all streams. The first change after a quiet time goes out at once.',
  ),
});

const secretNameKey = kind('a name', 'text', secretName);

const sds = mapping({
  default_svid_name: key(
    secretNameKey,
    'default',
    'reload',
    'The name under which a proxy gets the first identity of its process.',
  ),
  default_bundle_name: key(
    secretNameKey,
    'ROOTCA',
    'reload',
    'The name under which it gets the bundle of the own trust domain.',
  ),
  default_all_bundles_name: key(
    secretNameKey,
    'ALL',
    'reload',
    'The name under which it gets the bundles of the own and of all federated trust domains.',
  ),
  disable_spiffe_cert_validation: key(
    flag,
    false,
    'reload',
    "Whether bundles are given as a plain `trusted_ca` rather than for Envoy's SPIFFE validator. A proxy says for itself with the same key in its node's metadata.",
  ),
});

const ledger = mapping({
  sync: key(
    choice('strict', 'relaxed'),
    'strict',
    'restart',
    'What durable means before a certificate or token leaves the agent. `strict`: its record is on the disk; nothing is lost. `relaxed`: it is with the kernel; a crash of the machine, not of the agent, can lose the last seconds, and what was issued in them is neither known nor revoked afterwards.',
  ),
  segment_size: key(bytes('64KiB', '1GiB'), '16MiB', 'restart', 'When a file of the ledger is followed by the next.'),
  checkpoint_interval: key(
    ttl('1s', '7d'),
    '1h',
    'restart',
    'How often the state is written down, signed, so that a start has less to read.',
  ),
  max_age: key(ttl('1h', '36500d'), '90d', 'restart', 'Files of the ledger whose last record is older are removed.'),
  max_size: key(
    bytes('1MiB', '1024GiB'),
    '1GiB',
    'restart',
    'The oldest files of the ledger are removed above this size. At least four times `ledger.segment_size`.',
  ),
  reserve: key(
    bytes('64KiB', '1GiB'),
    '4MiB',
    'restart',
    'Room that is kept for the records of endings and revocations when the disk is full.',
  ),
});

const peer = mapping({
  require_pidfd: key(
    flag,
    false,
    'restart',
    'Whether the agent refuses to start on a kernel without `SO_PEERPIDFD` (before Linux 6.5), rather than to serve in the weaker mode.',
  ),
  max_connections: key(count(1_000_000), 10_000, 'reload', 'The most connections in all.'),
  max_connections_per_uid: key(
    count(1_000_000),
    2000,
    'reload',
    'The most connections of one user, of one pod or of one container. At most `peer.max_connections`.',
  ),
  max_calls_per_connection: key(count(100_000), 256, 'restart', 'The most calls under way on one connection.'),
  max_attestations: key(
    count(10_000),
    128,
    'reload',
    'The most attestations under way at a time. No user, pod or container may have more of them than are left for others.',
  ),
  preface_timeout: key(
    ttl('100ms', '10m'),
    '10s',
    'reload',
    'How long a new connection may take to send the HTTP/2 preface.',
  ),
  max_header_size: key(bytes('1KiB', '1MiB'), '16KiB', 'restart', 'The most header bytes of one request.'),
  max_message_size: key(bytes('1KiB', '4MiB'), '64KiB', 'restart', 'The largest message that is taken from a client.'),
});

const metrics = mapping({
  listen: key(
    kind('off, an IP address with a port, or the absolute path of a socket', 'text', listenAddress),
    'off',
    'restart',
    'Where `/metrics`, `/healthz` and `/readyz` are served over HTTP: `127.0.0.1:9464`, `[::1]:9464`, `/run/mayfly/metrics.sock`. `off`: nowhere.',
  ),
  allow_remote: key(
    flag,
    false,
    'restart',
    'Whether `listen` may be an address that is not of the loopback, such as that of a pod. Whoever reaches it reads the ids of entries and how the agent does: there is no password and no TLS.',
  ),
  mode: key(
    kind('a mode in octal and in quotes', 'text', fileMode),
    '0600',
    'restart',
    'Who may connect, where `listen` is the path of a socket.',
  ),
});

/** The configuration file. Keys stand in the order of the reference. */
export const configSchema = mapping({
  trust_domain: v.pipe(
    trustDomain,
    v.metadata({
      form: 'the name of a trust domain',
      takes: 'text',
      says: 'The trust domain of every identity that this agent issues.',
      change: 'restart',
    } satisfies KeyNote),
  ),
  socket: key(
    path,
    '/run/mayfly/api.sock',
    'restart',
    'The socket of the Workload API and of SDS, which workloads connect to. At most 107 bytes once resolved.',
  ),
  sockets: key(
    kind(
      'a list of path and mode',
      'list',
      list(mapping({ path: filePath, mode: v.optional(fileMode, '0777') }), 0, 16),
    ),
    [],
    'restart',
    "More sockets of the same, for clients that look elsewhere, such as Istio's. `mode` says who may connect, in octal and in quotes; without it everybody may, as on `socket`.",
  ),
  admin_socket: key(
    path,
    '/run/mayfly/admin.sock',
    'restart',
    'The socket of status and administration, for the user whom the agent runs as. At most 107 bytes once resolved.',
  ),
  data_dir: key(path, '/var/lib/mayfly', 'restart', "The authority's keys and the ledger, for the agent alone."),
  log_level: key(
    choice('debug', 'info', 'warn', 'error'),
    'info',
    'reload',
    'The least important lines that are logged.',
  ),
  authority: v.optional(authority, {}),
  svid_key_type: key(
    choice('ec-p256', 'ec-p384', 'rsa-2048'),
    'ec-p256',
    'reload',
    'The keys of X.509-SVIDs and of WIT-SVIDs.',
  ),
  entries: key(
    kind('a list of paths and globs', 'list', list(glob, 0, 1000)),
    ['entries/*.yaml'],
    'reload',
    'The entry files. A path without a wildcard has to exist.',
  ),
  bundles: key(
    kind(
      'a list of trust_domain and file',
      'list',
      list(mapping({ trust_domain: trustDomain, file: filePath }), 0, 1000),
    ),
    [],
    'reload',
    'The bundles of other trust domains, each a SPIFFE bundle file. Not the own trust domain, and none twice.',
  ),
  attestors: v.optional(attestors, {}),
  defaults: v.optional(defaults, {}),
  policy: v.optional(policy, {}),
  wit: v.optional(wit, {}),
  revocation: v.optional(revocation, {}),
  sds: v.optional(sds, {}),
  ledger: v.optional(ledger, {}),
  peer: v.optional(peer, {}),
  metrics: v.optional(metrics, {}),
});

/** A checked configuration file by its own names; durations in milliseconds, sizes in bytes, paths as they are written. */
export type ConfigDocument = v.InferOutput<typeof configSchema>;
