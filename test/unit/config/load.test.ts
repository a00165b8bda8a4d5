import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Config } from '../../../agent/config/config.ts';
import { loadConfig } from '../../../agent/config/load.ts';
import type { ConfigFlags } from '../../../agent/config/overrides.ts';
import { InvalidConfig } from '../../../agent/config/problem.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-config-'));
  path = join(folder, 'mayfly.yaml');
});
afterEach(() => rmSync(folder, { recursive: true }));

function load(text: string, env: NodeJS.ProcessEnv = {}, flags: ConfigFlags = {}, running?: Config): Promise<Config> {
  writeFileSync(path, text);
  return loadConfig({ path, env, flags }, running);
}

/** The messages that loading is refused with, the file's path cut off. */
async function refusal(text: string, env: NodeJS.ProcessEnv = {}, flags: ConfigFlags = {}, running?: Config) {
  try {
    await load(text, env, flags, running);
  } catch (error) {
    if (!(error instanceof InvalidConfig)) throw error;
    expect(error.code).toBe('INVALID_CONFIG');
    return error.message.split('\n').map((line) => line.replace(`${path}:`, ''));
  }
  throw new Error('the configuration was accepted');
}

describe('a configuration', () => {
  test('that says only its trust domain has every default', async () => {
    const { digest, ...config } = await load('trust_domain: example.org\n');
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
    expect(config).toEqual({
      file: path,
      trustDomain: 'example.org',
      socket: '/run/mayfly/api.sock',
      sockets: [],
      adminSocket: '/run/mayfly/admin.sock',
      dataDir: '/var/lib/mayfly',
      logLevel: 'info',
      authority: {
        type: 'local',
        keyType: 'ec-p256',
        rootTtl: 3650 * DAY,
        caTtl: DAY,
        jwtKeyTtl: DAY,
        witKeyTtl: DAY,
        nameConstraint: false,
      },
      svidKeyType: 'ec-p256',
      entries: [join(folder, 'entries/*.yaml')],
      bundles: [],
      attestors: {
        unix: { path: true, sha256: false, maxHashSize: 256 * 1024 ** 2 },
        docker: { enabled: false, socket: '/run/docker.sock' },
        podman: { enabled: false, socket: '/run/podman/podman.sock', rootlessUsers: [] },
        k8s: {
          enabled: false,
          nodeName: '',
          nodeNameEnv: 'MY_NODE_NAME',
          kubeletSecurePort: 10_250,
          kubeletReadOnlyPort: 0,
          kubeletCaPath: '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
          skipKubeletVerification: false,
          tokenPath: '/var/run/secrets/kubernetes.io/serviceaccount/token',
          certificatePath: '',
          privateKeyPath: '',
          enableNamespaceLabels: false,
          disableContainerSelectors: false,
          pollInterval: 2000,
          maxAnswerSize: 64 * 1024 ** 2,
        },
        systemd: { enabled: false, socket: '/run/dbus/system_bus_socket' },
      },
      defaults: { x509SvidTtl: HOUR, jwtSvidTtl: 300_000, witSvidTtl: HOUR },
      policy: {
        maxX509SvidTtl: DAY,
        maxJwtSvidTtl: HOUR,
        maxWitSvidTtl: DAY,
        maxAudiences: 16,
        maxTokens: 100_000,
        requireOwner: false,
      },
      wit: { enabled: true },
      revocation: {
        maxBytes: 128 * 1024,
        minX509SvidTtl: 10_000,
        x509SvidInterval: 1000,
        sdsInterval: 200,
        maxPushRate: 32 * 1024 ** 2,
      },
      sds: {
        defaultSvidName: 'default',
        defaultBundleName: 'ROOTCA',
        defaultAllBundlesName: 'ALL',
        disableSpiffeCertValidation: false,
      },
      ledger: {
        sync: 'strict',
        segmentSize: 16 * 1024 ** 2,
        checkpointInterval: HOUR,
        maxAge: 90 * DAY,
        maxSize: 1024 ** 3,
        reserve: 4 * 1024 ** 2,
      },
      peer: {
        requirePidfd: false,
        maxConnections: 10_000,
        maxConnectionsPerUid: 2000,
        maxCallsPerConnection: 256,
        maxAttestations: 128,
        prefaceTimeout: 10_000,
        maxHeaderSize: 16_384,
        maxMessageSize: 65_536,
      },
      metrics: { listen: 'off', allowRemote: false, mode: 0o600 },
    });
  });

  test('is frozen all the way down', async () => {
    const config = await load('trust_domain: example.org\nbundles: [{ trust_domain: other.org, file: other.json }]\n');
    const unfrozen: unknown[] = [];
    const look = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      if (!Object.isFrozen(value)) unfrozen.push(value);
      for (const child of Object.values(value)) look(child);
    };
    look(config);
    expect(unfrozen).toEqual([]);
    expect(() => Object.assign(config.peer, { maxConnections: 1 })).toThrow(TypeError);
  });

  test('resolves its paths against its own folder, as it was named and not where a link leads', async () => {
    mkdirSync(join(folder, '..data'));
    writeFileSync(
      join(folder, '..data/linked.yaml'),
      'trust_domain: example.org\nsocket: run/api.sock\nadmin_socket: /run/admin.sock\ndata_dir: ../data\nentries: [a.yaml, /etc/b/*.yaml]\nbundles: [{ trust_domain: other.org, file: other.json }]\nsockets: [{ path: run/b.sock, mode: "0770" }]\n',
    );
    symlinkSync('..data/linked.yaml', path);
    const config = await loadConfig({ path, env: {} });
    expect(config.socket).toBe(join(folder, 'run/api.sock'));
    expect(config.adminSocket).toBe('/run/admin.sock');
    expect(config.dataDir).toBe(join(folder, '../data'));
    expect(config.entries).toEqual([join(folder, 'a.yaml'), '/etc/b/*.yaml']);
    expect(config.bundles).toEqual([{ trustDomain: 'other.org', file: join(folder, 'other.json') }]);
    expect(config.sockets).toEqual([{ path: join(folder, 'run/b.sock'), mode: 0o770 }]);
  });

  test('names credentials by the folder where the service manager has put them', async () => {
    const text = [
      'trust_domain: example.org',
      'bundles: [ { trust_domain: other.org, file: $CREDENTIALS_DIRECTORY/other.org } ]',
      'attestors: { k8s: { token_path: "$CREDENTIALS_DIRECTORY/token" } }',
    ].join('\n');
    const config = await load(text, { CREDENTIALS_DIRECTORY: '/run/credentials/mayfly.service' });
    expect(config.bundles).toEqual([{ trustDomain: 'other.org', file: '/run/credentials/mayfly.service/other.org' }]);
    expect(config.attestors.k8s.tokenPath).toBe('/run/credentials/mayfly.service/token');
    for (const env of [{}, { CREDENTIALS_DIRECTORY: '' }]) {
      expect(await refusal(text, env)).toEqual([
        expect.stringMatching(/^2:45: bundles\[0\]\.file: names a credential, .*CREDENTIALS_DIRECTORY is not set/),
        expect.stringMatching(/^3:33: attestors\.k8s\.token_path: names a credential/),
      ]);
    }
  });

  test('has the digest of what it means, however it is written', async () => {
    const one = await load('trust_domain: example.org\npeer: { max_connections: 5000, preface_timeout: 1m }\n');
    const same = await load('# other\npeer:\n  preface_timeout: 60s\ntrust_domain: example.org\n', {
      MAYFLY_PEER_MAX_CONNECTIONS: '5000',
    });
    const other = await load('trust_domain: example.org\npeer: { max_connections: 5001, preface_timeout: 1m }\n');
    expect(same.digest).toBe(one.digest);
    expect(other.digest).not.toBe(one.digest);
  });
});

describe('a wrong configuration', () => {
  test('is refused with everything that is wrong, each with its place', async () => {
    expect(
      await refusal(
        [
          'trust_domian: example.org',
          'log_level: loud',
          'authority: { ca_ttl: 300 }',
          'attestors: { unix: { path: maybe } }',
          'entries: [ "entries/{a,b}.yaml" ]',
          'policy:',
          'peer:',
          '  max_conections: 5',
          '  require_pidfd: yes',
        ].join('\n'),
      ),
    ).toEqual([
      '1:1: trust_domian: is no known key; did you mean trust_domain?',
      '2:12: log_level: must be debug, info, warn or error, found "loud"',
      '3:22: authority.ca_ttl: must be a duration from 10s to 36500d, found 300',
      '4:28: attestors.unix.path: must be true, false or any, found "maybe"',
      '5:12: entries[0]: "entries/{a,b}.yaml" has one of [ ] { } !; only *, ? and ** are wildcards, write a second pattern instead',
      '6:8: policy: has no value; it must be a mapping of keys to values, or leave the key out',
      '8:3: peer.max_conections: is no known key; did you mean max_connections?',
      '9:18: peer.require_pidfd: must be true or false, found "yes"; write true or false',
    ]);
  });

  test.each<[what: string, text: string, message: string]>([
    [
      'a variable that nobody expands',
      'data_dir: $HOME/mayfly',
      '2:11: data_dir: "$HOME/mayfly" begins with a variable; only $CREDENTIALS_DIRECTORY/NAME is one that is known',
    ],
    [
      'a credential without a name',
      'data_dir: $CREDENTIALS_DIRECTORY/',
      '2:11: data_dir: "$CREDENTIALS_DIRECTORY/" begins with a variable; only $CREDENTIALS_DIRECTORY/NAME is one that is known',
    ],
    [
      'an X.509-SVID default over its maximum',
      'defaults: { x509_svid_ttl: 2h }\npolicy: { max_x509_svid_ttl: 1h }',
      '2:28: defaults.x509_svid_ttl (2h) is above policy.max_x509_svid_ttl (1h), so that nothing would ever last that long; lower the one or raise the other',
    ],
    [
      'a JWT-SVID default over its maximum',
      'policy: { max_jwt_svid_ttl: 1m }',
      '2:29: policy.max_jwt_svid_ttl: defaults.jwt_svid_ttl (5m) is above policy.max_jwt_svid_ttl (1m), so that nothing would ever last that long; lower the one or raise the other',
    ],
    [
      'an SVID below the floor',
      'defaults: { x509_svid_ttl: 4999ms }',
      '2:28: defaults.x509_svid_ttl: must be from 5s to 7d, found 4s999ms',
    ],
    [
      'a maximum below the floor',
      'policy: { max_jwt_svid_ttl: 1s }',
      '2:29: policy.max_jwt_svid_ttl: must be from 5s to 7d, found 1s',
    ],
    [
      'an issuing CA that SVIDs outlive',
      'authority: { ca_ttl: 119m }',
      '2:22: authority.ca_ttl (1h59m) is less than twice defaults.x509_svid_ttl (1h): nothing outlives its signer, and a signer is replaced before its end; raise the one or lower the other',
    ],
    [
      'a JWT key that tokens outlive',
      'authority: { jwt_key_ttl: 14m }',
      '2:27: authority.jwt_key_ttl (14m) is less than three times defaults.jwt_svid_ttl (5m): nothing outlives its signer, and a signer is replaced before its end; raise the one or lower the other',
    ],
    [
      'a WIT lifetime above its maximum',
      'defaults: { wit_svid_ttl: 2h }\npolicy: { max_wit_svid_ttl: 1h }',
      '2:27: defaults.wit_svid_ttl (2h) is above policy.max_wit_svid_ttl (1h), so that nothing would ever last that long; lower the one or raise the other',
    ],
    [
      'a WIT key too short for its tokens',
      'authority: { wit_key_ttl: 2h }',
      '2:27: authority.wit_key_ttl (2h) is less than three times defaults.wit_svid_ttl (1h): nothing outlives its signer, and a signer is replaced before its end; raise the one or lower the other',
    ],
    [
      'a root that its CAs outlive',
      'authority: { root_ttl: 47h }',
      '2:24: authority.root_ttl (1d23h) is less than twice authority.ca_ttl (1d): nothing outlives its signer, and a signer is replaced before its end; raise the one or lower the other',
    ],
    [
      'two sockets in one place',
      'socket: /run/./a\nadmin_socket: /run/a',
      '3:15: admin_socket: socket and admin_socket are the same path; give each its own',
    ],
    [
      'a socket where the data is',
      'socket: /var/lib/mayfly',
      '2:9: socket and data_dir are the same path; give each its own',
    ],
    [
      'a second socket in the place of the first',
      'socket: /run/a\nsockets: [{ path: /run/b }, { path: /run/a }]',
      '3:37: sockets[1].path: socket and sockets[1] are the same path; give each its own',
    ],
    [
      'a mode that is a number, which YAML does not read as octal',
      'sockets: [{ path: /run/a, mode: 0770 }]',
      '2:33: sockets[0].mode: must be a mode in octal and in quotes, such as "0770", found 770',
    ],
    [
      'a mode that is none',
      'sockets: [{ path: /run/a, mode: "0789" }]',
      '2:33: sockets[0].mode: "0789" is no mode; write three octal digits, such as "0770"',
    ],
    [
      'one name for two secrets',
      'sds: { default_svid_name: ALL }',
      '2:27: sds.default_svid_name and sds.default_all_bundles_name are both ALL; a name can mean one of them',
    ],
    [
      'a name that could be a SPIFFE ID',
      'sds: { default_bundle_name: "spiffe://example.org" }',
      '2:29: sds.default_bundle_name: "spiffe://example.org" could be a SPIFFE ID, which each secret has by itself',
    ],
    [
      'a socket that is too deep',
      `socket: /${'d'.repeat(107)}`,
      "2:9: socket: the path has 108 bytes and a socket's has at most 107; choose a shorter one",
    ],
    [
      'more connections a user than in all',
      'peer: { max_connections: 100 }',
      '2:26: peer.max_connections: peer.max_connections_per_uid (2000) is above peer.max_connections (100) and would never be reached; lower it',
    ],
    [
      'a bundle of the own trust domain',
      'bundles: [{ trust_domain: example.org, file: a }]',
      "2:27: bundles[0].trust_domain: example.org is the agent's own trust domain, whose bundle its authority makes; name another",
    ],
    [
      'two bundles of one trust domain',
      'bundles: [{ trust_domain: b, file: b }, { trust_domain: b, file: c }]',
      '2:57: bundles[1].trust_domain: b has a bundle above already; a trust domain has one',
    ],
    [
      'metrics for other machines that nobody allowed',
      'metrics: { listen: "0.0.0.0:9464" }',
      '2:20: metrics.listen: 0.0.0.0:9464 can be reached from other machines, which then read without a password how the agent does; write metrics.allow_remote: true if they may, or listen on 127.0.0.1',
    ],
    [
      'metrics at a name',
      'metrics: { listen: "localhost:9464" }',
      '2:20: metrics.listen: "localhost:9464" has no IP address in front of the port; write one such as 127.0.0.1:9464 or [::1]:9464',
    ],
    [
      'metrics where a socket is',
      'socket: /run/a\nmetrics: { listen: /run/a }',
      '3:20: metrics.listen: socket and metrics.listen are the same path; give each its own',
    ],
    [
      'metrics switched off as YAML 1.1 would',
      'metrics: { listen: false }',
      '2:20: metrics.listen: must be an address, a path or off, found false',
    ],
  ])('is one with %s', async (_, text, message) => {
    expect(await refusal(`trust_domain: example.org\n${text}\n`)).toEqual([message]);
  });

  test('is not one that goes just as far as it may', async () => {
    const config = await load(
      `trust_domain: example.org\nsocket: /${'d'.repeat(106)}\nauthority: { root_ttl: 40s, ca_ttl: 20s, jwt_key_ttl: 15s }\ndefaults: { x509_svid_ttl: 10s, jwt_svid_ttl: 5s }\npolicy: { max_x509_svid_ttl: 10s, max_jwt_svid_ttl: 5s }\npeer: { max_connections: 7, max_connections_per_uid: 7 }\n`,
    );
    expect(config.authority).toMatchObject({ rootTtl: 40_000, caTtl: 20_000, jwtKeyTtl: 15_000 });
  });

  test('is one of more than a mebibyte, or none at all', async () => {
    expect(await refusal(`trust_domain: example.org\n#${'x'.repeat(1024 * 1024)}`)).toEqual([
      ' is larger than 1048576 bytes, the most that is read',
    ]);
    await expect(loadConfig({ path: folder, env: {} })).rejects.toThrow(
      `${folder}: is a directory; name a regular file`,
    );
    const missing = join(folder, 'missing.yaml');
    await expect(loadConfig({ path: missing, env: {} })).rejects.toThrow(`${missing}: does not exist`);
  });
});

describe('overrides', () => {
  test('go flags over environment over file over defaults', async () => {
    const text = 'trust_domain: file.org\nlog_level: error\npeer: { max_attestations: 1 }\n';
    const env = { MAYFLY_TRUST_DOMAIN: 'env.org', MAYFLY_LOG_LEVEL: 'warn', MAYFLY_PEER_MAX_ATTESTATIONS: '2' };
    const config = await load(text, env, { trustDomain: 'flag.org', set: ['peer.max_attestations=3'] });
    expect(config).toMatchObject({
      trustDomain: 'flag.org',
      logLevel: 'warn',
      peer: { maxAttestations: 3, maxConnections: 10_000 },
    });
    expect(await load(text, env)).toMatchObject({ trustDomain: 'env.org', peer: { maxAttestations: 2 } });
    expect(await load(text)).toMatchObject({
      trustDomain: 'file.org',
      logLevel: 'error',
      peer: { maxAttestations: 1 },
    });
  });

  test('may say everything that the file does not', async () => {
    const config = await load(
      '# nothing\n',
      { MAYFLY_ATTESTORS_UNIX_PATH: 'any', MAYFLY_PEER_MAX_HEADER_SIZE: '32768' },
      {
        trustDomain: 'example.org',
        socket: '/run/s',
        adminSocket: '/run/a',
        dataDir: '/data',
        logLevel: 'debug',
        set: ['attestors.unix.sha256=true', 'authority.key_type=ec-p384', 'peer.preface_timeout=1m'],
      },
    );
    expect(config).toMatchObject({
      trustDomain: 'example.org',
      socket: '/run/s',
      adminSocket: '/run/a',
      dataDir: '/data',
      logLevel: 'debug',
      attestors: { unix: { path: 'any', sha256: true } },
      authority: { keyType: 'ec-p384' },
      peer: { maxHeaderSize: 32_768, prefaceTimeout: 60_000 },
    });
  });

  test('have relative paths of the working directory', async () => {
    const config = await load(
      'trust_domain: example.org\nadmin_socket: c\n',
      { MAYFLY_SOCKET: 'a' },
      { dataDir: './b' },
    );
    expect(config).toMatchObject({ socket: resolve('a'), dataDir: resolve('b'), adminSocket: join(folder, 'c') });
  });

  test('from the environment are refused by their names, without their values', async () => {
    const messages = await refusal('trust_domain: example.org\n', {
      MAYFLY_TRUST_DOMAIN: 'Hidden.example',
      MAYFLY_SOKET: 'hidden',
      MAYFLY_PEER: 'hidden',
      MAYFLY_ENTRIES: 'hidden',
      MAYFLY_QUUX: 'hidden',
      MAYFLY_PEER_MAX_CONNECTIONS: 'hidden',
      MAYFLY_DEFAULTS_JWT_SVID_TTL: 'hidden',
      MAYFLY_SOCKET: '',
    });
    expect(messages).toEqual([
      'MAYFLY_ENTRIES: entries is a list, which only the configuration file can hold; set it there',
      'MAYFLY_PEER: peer is a section; set one of its keys, such as MAYFLY_PEER_REQUIRE_PIDFD',
      'MAYFLY_QUUX: is no variable of the agent; those are MAYFLY_ and the name of a key, such as MAYFLY_TRUST_DOMAIN; unset it',
      'MAYFLY_SOKET: is no variable of the agent; did you mean MAYFLY_SOCKET?',
      'MAYFLY_TRUST_DOMAIN: trust_domain: does not have a value that is allowed; it must be the name of a trust domain',
      'MAYFLY_SOCKET: socket: does not have a value that is allowed; it must be a path',
      'MAYFLY_DEFAULTS_JWT_SVID_TTL: defaults.jwt_svid_ttl: does not have a value that is allowed; it must be a duration from 5s to 7d',
      'MAYFLY_PEER_MAX_CONNECTIONS: peer.max_connections: does not have a value that is allowed; it must be a whole number from 1 to 1000000',
    ]);
    expect(messages.join('\n')).not.toMatch(/hidden/i);
  });

  test('from the environment leave alone what is not for the agent', async () => {
    const env = {
      MAYFLY_CONFIG: '/etc/mayfly.yaml',
      MAYFLY_SPIFFE_ID: 'spiffe://example.org/a',
      MAYFLY_SERIAL: '01',
      MAYFLY_NOT_AFTER: '2027-01-31T12:00:00Z',
      MAYFLY_SVID_FILE: '/run/svid.pem',
      MAYFLY_KEY_FILE: '/run/key.pem',
      MAYFLY_BUNDLE_FILE: '/run/bundle.pem',
      MAYFLY_PORT: 'tcp://10.0.0.1:80',
      MAYFLY_PORT_80_TCP_ADDR: '10.0.0.1',
      MAYFLY_SERVICE_HOST: '10.0.0.1',
      MAYFLY_AGENT_SERVICE_PORT_HTTPS: '443',
      MAYFLYING: '1',
      HOME: '/root',
    };
    expect((await load('trust_domain: example.org\n', env)).trustDomain).toBe('example.org');
  });

  test('from flags are refused by their names', async () => {
    expect(
      await refusal(
        'trust_domain: example.org\n',
        {},
        {
          trustDomain: 'Example.org',
          logLevel: 'loud',
          set: [
            'peer.requirePidfd=true',
            'peer',
            '=1',
            'peer=1',
            'entries=a',
            'zzz=1',
            'trust_domain=a',
            'policy.require_owner=1',
            'peer.max_attestations=0',
          ],
        },
      ),
    ).toEqual([
      '--set peer.requirePidfd: is no known key; did you mean peer.require_pidfd?',
      '--set: "peer" sets nothing; write a key and its value, as in peer.require_pidfd=true',
      '--set: "=1" sets nothing; write a key and its value, as in peer.require_pidfd=true',
      '--set peer: peer is a section; set one of its keys, such as peer.require_pidfd',
      '--set entries: entries is a list, which only the configuration file can hold; set it there',
      '--set zzz: is no known key; keys are spelled as in the configuration file, such as peer.require_pidfd',
      '--set trust_domain: trust_domain is given by --trust-domain already; give it once',
      '--trust-domain: trust_domain: trust domain "Example.org" has an upper-case letter; only a-z, 0-9, ".", "-" and "_" are allowed',
      '--log-level: log_level: must be debug, info, warn or error, found "loud"',
      '--set policy.require_owner: must be true or false, found "1"',
      '--set peer.max_attestations: must be at least 1, found 0',
    ]);
  });

  test('are what a contradiction points at when they made it', async () => {
    expect(await refusal('trust_domain: example.org\n', { MAYFLY_AUTHORITY_CA_TTL: '1h' })).toEqual([
      'MAYFLY_AUTHORITY_CA_TTL: authority.ca_ttl (1h) is less than twice defaults.x509_svid_ttl (1h): nothing outlives its signer, and a signer is replaced before its end; raise the one or lower the other',
    ]);
  });

  test('do not hide a section that is no mapping', async () => {
    expect(await refusal('trust_domain: a\npeer: 5\n', { MAYFLY_PEER_REQUIRE_PIDFD: 'true' })).toEqual([
      '2:7: peer: must be a mapping of keys to values, found 5',
    ]);
  });
});

describe('while the agent runs', () => {
  test('what a restart needs is refused as a whole, each key by its place', async () => {
    const running = await load('trust_domain: example.org\ndata_dir: data\n');
    expect(
      await refusal(
        'trust_domain: other.org\nlog_level: debug\nattestors: { unix: { path: any } }\n',
        { MAYFLY_PEER_REQUIRE_PIDFD: 'true' },
        {},
        running,
      ),
    ).toEqual([
      '1:1: data_dir cannot change while the agent runs, so that nothing of this configuration is used; restart the agent, or put the value back',
      '1:15: trust_domain cannot change while the agent runs, so that nothing of this configuration is used; restart the agent, or put the value back',
      '3:28: attestors.unix.path cannot change while the agent runs, so that nothing of this configuration is used; restart the agent, or put the value back',
      'MAYFLY_PEER_REQUIRE_PIDFD: peer.require_pidfd cannot change while the agent runs, so that nothing of this configuration is used; restart the agent, or put the value back',
    ]);
  });

  test('everything else may change, and the same value may be written otherwise', async () => {
    const running = await load('trust_domain: example.org\nauthority: { ca_ttl: 24h }\n');
    const next = await load(
      'trust_domain: example.org\nauthority: { ca_ttl: 1d }\nlog_level: debug\nentries: []\npeer: { max_connections: 3000 }\n',
      {},
      {},
      running,
    );
    expect(next).toMatchObject({ logLevel: 'debug', entries: [], peer: { maxConnections: 3000 } });
  });
});
