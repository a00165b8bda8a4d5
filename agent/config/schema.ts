import { z } from 'zod';
import { duration, filePath, glob, size, trustDomain } from './field.ts';

/** What the reference says of a key, and what a reload may do with it. */
export interface KeyNote {
  /** What may be written, such that "it must be …" reads well. */
  readonly form: string;
  readonly says: string;
  /** Whether a running agent takes a new value over, or refuses the file until it is started again. */
  readonly change: 'reload' | 'restart';
}

/** The note of each key that holds a value. */
export const keyNotes = z.registry<KeyNote>();

/** The shortest lifetime of an SVID: below it the next renewal is due before clients have taken over the last one. */
const MIN_SVID_TTL = '5s';

/** What a key holds: the schema, and its grammar in words. */
interface Kind<S extends z.ZodType> {
  readonly form: string;
  readonly of: S;
}

/** A key that may be left out: then it is `otherwise`, which is spelled as in the file. */
function key<S extends z.ZodType>(
  kind: Kind<S>,
  otherwise: z.input<S>,
  change: KeyNote['change'],
  says: string,
): z.ZodPrefault<S> {
  const schema = z.prefault(kind.of, otherwise);
  keyNotes.add(schema, { form: kind.form, says, change });
  return schema;
}

const svidTtl = { form: `a duration from ${MIN_SVID_TTL} to 7d`, of: duration(MIN_SVID_TTL, '7d') };
const authorityTtl = { form: 'a duration from 10s to 36500d', of: duration('10s', '36500d') };
const flag = { form: 'true or false', of: z.boolean() };
const path = { form: 'a path', of: filePath };
const choice = <const V extends readonly string[]>(...values: V) => ({
  form: values.length === 1 ? values.join('') : `one of ${values.join(', ')}`,
  of: z.enum(values),
});
const count = (max: number) => ({ form: `a whole number from 1 to ${max}`, of: z.int().min(1).max(max) });
const bytes = (min: string, max: string) => ({ form: `a size from ${min} to ${max}`, of: size(min, max) });

const authority = z.strictObject({
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
    'The keys of the root, of the issuing CA and for JWT-SVIDs.',
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
  name_constraint: key(
    flag,
    false,
    'restart',
    'Whether the issuing CA carries a URI name constraint for the trust domain. OpenSSL and Go enforce it; rustls refuses every certificate under such a CA.',
  ),
});

const unix = z.strictObject({
  path: key(
    { form: 'true, false or any', of: z.union([z.boolean(), z.literal('any')]) },
    true,
    'restart',
    'Whether there are `unix:path` selectors. `true`: of an executable that is the very file which the path names for the agent. `any`: of whatever path the process shows, which any user can forge in a mount namespace of his own.',
  ),
  sha256: key(flag, false, 'restart', 'Whether there are `unix:sha256` selectors, the hash of the executable.'),
  max_hash_size: key(
    bytes('1B', '64GiB'),
    '256MiB',
    'restart',
    'The largest executable that is hashed. A larger one has no `unix:sha256`.',
  ),
});

const defaults = z.strictObject({
  x509_svid_ttl: key(svidTtl, '1h', 'reload', 'How long an X.509-SVID is valid unless its entry says otherwise.'),
  jwt_svid_ttl: key(svidTtl, '5m', 'reload', 'How long a JWT-SVID is valid unless its entry says otherwise.'),
});

const policy = z.strictObject({
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
  max_audiences: key(count(1000), 16, 'reload', 'The most audiences of one JWT-SVID.'),
  require_owner: key(flag, false, 'reload', 'Whether an entry without `owner` is refused.'),
});

const peer = z.strictObject({
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
    'The most connections of one user. At most `peer.max_connections`.',
  ),
  max_calls_per_connection: key(count(100_000), 256, 'reload', 'The most calls under way on one connection.'),
  max_attestations: key(count(10_000), 64, 'reload', 'The most attestations under way at a time.'),
  preface_timeout: key(
    { form: 'a duration from 100ms to 10m', of: duration('100ms', '10m') },
    '10s',
    'reload',
    'How long a new connection may take to send the HTTP/2 preface.',
  ),
  max_header_size: key(bytes('1KiB', '1MiB'), '16KiB', 'reload', 'The most header bytes of one request.'),
  max_message_size: key(bytes('1KiB', '4MiB'), '64KiB', 'reload', 'The largest message that is taken from a client.'),
});

/** The configuration file. Keys stand in the order of the reference. */
export const configSchema = z.strictObject({
  trust_domain: trustDomain.register(keyNotes, {
    form: 'the name of a trust domain',
    says: 'The trust domain of every identity that this agent issues.',
    change: 'restart',
  }),
  socket: key(
    path,
    '/run/mayfly/api.sock',
    'restart',
    'The socket of the Workload API, which workloads connect to. At most 107 bytes once resolved.',
  ),
  admin_socket: key(
    path,
    '/run/mayfly/admin.sock',
    'restart',
    'The socket of status and administration, for the user whom the agent runs as. At most 107 bytes once resolved.',
  ),
  data_dir: key(path, '/var/lib/mayfly', 'restart', "The authority's keys and bundle, for the agent alone."),
  log_level: key(
    choice('debug', 'info', 'warn', 'error'),
    'info',
    'reload',
    'The least important lines that are logged.',
  ),
  authority: authority.prefault({}),
  svid_key_type: key(choice('ec-p256', 'ec-p384', 'rsa-2048'), 'ec-p256', 'reload', 'The keys of X.509-SVIDs.'),
  entries: key(
    { form: 'a list of paths and globs', of: z.array(glob).max(1000) },
    ['entries/*.yaml'],
    'reload',
    'The entry files. A path without a wildcard has to exist.',
  ),
  bundles: key(
    {
      form: 'a list of trust_domain and file',
      of: z.array(z.strictObject({ trust_domain: trustDomain, file: filePath })).max(1000),
    },
    [],
    'reload',
    'The bundles of other trust domains, each a SPIFFE bundle file. Not the own trust domain, and none twice.',
  ),
  attestors: z.strictObject({ unix: unix.prefault({}) }).prefault({}),
  defaults: defaults.prefault({}),
  policy: policy.prefault({}),
  peer: peer.prefault({}),
});

/** A checked configuration file by its own names; durations in milliseconds, sizes in bytes, paths as they are written. */
export type ConfigDocument = z.output<typeof configSchema>;
