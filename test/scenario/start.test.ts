import { spawn, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  Daemon,
  endOf,
  Home,
  MAIN,
  mayfly,
  NOBODY,
  nobodyRuns,
  plainEnvironment,
  refusal,
  sentence,
} from '../support/daemon.ts';
import { HAS_OPENSSL, openssl } from '../support/openssl.ts';
import { isRoot } from '../support/processes.ts';
import { WorkloadClient } from '../support/workload-client.ts';
import type { SaidX509 } from '../support/workload-said.ts';

/** A small disk of one's own. */
const hasNamespaces = isRoot && spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0;

const homes: Home[] = [];

function newHome(...args: ConstructorParameters<typeof Home>): Home {
  const home = new Home(...args);
  homes.push(home);
  return home;
}

afterAll(() => {
  for (const home of homes) home.remove();
});

/** Every file below a folder, with its bytes. */
function filesBelow(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    statSync(join(folder, name)).isFile(),
  );
  return Object.fromEntries(files.toSorted().map((name) => [name, readFileSync(join(folder, name), 'base64')]));
}

/** True when signatures lead from the leaf of a chain to one of the roots; all PEM. */
function verifies(chain: string, roots: string): boolean {
  const split = (pem: string) => pem.match(/-----BEGIN[^]+?-----END CERTIFICATE-----\n/g) ?? [];
  const [leaf, issuing] = split(chain).map((pem) => new X509Certificate(pem));
  if (leaf === undefined || issuing === undefined) return false;
  return (
    leaf.verify(issuing.publicKey) && split(roots).some((root) => issuing.verify(new X509Certificate(root).publicKey))
  );
}

async function keysOf(daemon: Daemon): Promise<string[]> {
  const { authority } = await daemon.status();
  return authority?.keys.map(({ use, id, state }) => `${use} ${id} ${state}`) ?? [];
}

describe('an agent that has started', () => {
  const home = newHome();
  let daemon: Daemon;
  let before: SaidX509;

  beforeAll(async () => {
    daemon = await Daemon.start(home);
    await using workload = new WorkloadClient(home.socket);
    before = await workload.x509();
  });

  afterAll(async () => {
    await daemon[Symbol.asyncDispose]();
  });

  test('has a data_dir for itself alone', () => {
    const modes = Object.fromEntries(
      ['.', ...readdirSync(home.dataDir, { recursive: true, encoding: 'utf8' })].map((name) => [
        name,
        (lstatSync(join(home.dataDir, name)).mode & 0o7777).toString(8),
      ]),
    );
    expect(modes).toEqual({ '.': '700', authority: '700', 'authority/keys.json': '600', lock: '600' });
    expect(readFileSync(join(home.dataDir, 'lock'), 'utf8')).toBe(`${daemon.pid}\n`);
  });

  test('has a socket for everybody and one for its own user', () => {
    expect((statSync(home.socket).mode & 0o7777).toString(8)).toBe('777');
    expect((statSync(home.adminSocket).mode & 0o7777).toString(8)).toBe('600');
  });

  test('says in its log what it serves, and no line of it holds a key', async () => {
    const started = await daemon.logged('agent.started');
    expect(started).toMatchObject({
      level: 'info',
      trust_domain: 'example.org',
      socket: home.socket,
      data_dir: home.dataDir,
      entries: 1,
    });
    expect(daemon.log.plain).toEqual([]);
    expect(JSON.stringify(daemon.log.all)).not.toMatch(/PRIVATE KEY|MIG[a-zA-Z0-9+/]{20}/);
  });

  test('keeps a second one off its data_dir, whatever else that has', async () => {
    const sockets = newHome();
    const files = filesBelow(home.dataDir);
    const { code, stderr, stdout } = await refusal(sockets, { args: ['--data-dir', home.dataDir] });
    expect(stderr).toBe(
      `mayfly: ${home.dataDir} is in use by the agent with process id ${daemon.pid}; stop it, or set another data_dir\n`,
    );
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(existsSync(sockets.socket)).toBe(false);
    expect(filesBelow(home.dataDir)).toEqual(files);
  });

  test('keeps a second one off its socket', async () => {
    const other = newHome();
    const { ino } = statSync(home.socket);
    const { code, stderr } = await refusal(other, { args: ['--socket', home.socket] });
    expect(sentence(stderr)).toBe(
      `process ${daemon.pid} holds the socket ${home.socket}; stop it, or choose another path`,
    );
    expect(code).toBe(1);
    expect(existsSync(other.adminSocket)).toBe(false);
    expect(statSync(home.socket).ino).toBe(ino);
  });

  test('has the same root, issuing CA and JWT key after a restart, and what it signed before still verifies', async () => {
    const keys = await keysOf(daemon);
    expect(keys.map((key) => key.replace(/ .* /, ' '))).toEqual(['root active', 'issuing-ca active', 'jwt active']);
    expect((await daemon.stop()).code).toBe(0);
    daemon = await Daemon.start(home);
    expect(await keysOf(daemon)).toEqual(keys);
    await using workload = new WorkloadClient(home.socket);
    const after = await workload.x509();
    expect(after.serial).not.toBe(before.serial);
    expect(verifies(before.chain, after.roots)).toBe(true);
    expect(verifies(after.chain, before.roots)).toBe(true);
  });

  test.skipIf(!HAS_OPENSSL)('has issued a chain that OpenSSL verifies (needs openssl)', () => {
    const write = (name: string, text: string) => {
      writeFileSync(home.path(name), text);
      return home.path(name);
    };
    const [roots, chain] = [write('roots.pem', before.roots), write('chain.pem', before.chain)];
    const args = ['verify', '-x509_strict', '-purpose', 'sslclient', '-CAfile', roots, '-untrusted', chain, chain];
    expect(openssl(args)).toEqual({ status: 0, output: `${chain}: OK\n` });
  });

  test('replaces the sockets that an agent left behind which was killed', async () => {
    await daemon.stop('SIGKILL');
    expect(existsSync(home.socket)).toBe(true);
    daemon = await Daemon.start(home);
    await using workload = new WorkloadClient(home.socket);
    expect((await workload.x509()).ids).toEqual(['spiffe://example.org/own']);
  });

  test('tells of callers what the kernel vouches for, or does not start where more is required', async () => {
    const { peer } = await daemon.status();
    await daemon.stop();
    if (peer?.proof === 'pidfd') {
      daemon = await Daemon.start(home, { args: ['--set', 'peer.require_pidfd=true'] });
      expect((await daemon.status()).warnings).toEqual([]);
    } else {
      const { code, stderr } = await refusal(home, { args: ['--set', 'peer.require_pidfd=true'] });
      expect(code).toBe(1);
      expect(stderr).toContain('this kernel has no SO_PEERPIDFD (Linux 6.5)');
    }
  });
});

describe('a start is refused with a sentence, and leaves nothing behind', () => {
  test.concurrent('when a key is unknown: with file, line and column', async () => {
    const home = newHome(undefined, 'peers: { max_connections: 5 }');
    const { code, stderr } = await refusal(home);
    expect(stderr).toBe(`mayfly: ${home.config}:5:1: peers: is no known key; did you mean peer?\n`);
    expect(code).toBe(1);
    expect(readdirSync(home.folder).toSorted()).toEqual(['entries', 'mayfly.yaml']);
  });

  test.concurrent('when a socket’s path is too long', async () => {
    const home = newHome();
    const path = join(home.folder, 'x'.repeat(107 - home.folder.length));
    expect(Buffer.byteLength(path)).toBe(108);
    const { code, stderr } = await refusal(home, { args: ['--socket', path] });
    expect(stderr).toContain("the path has 108 bytes and a socket's has at most 107; choose a shorter one");
    expect(code).toBe(1);
    expect(existsSync(home.dataDir)).toBe(false);
  });

  test.concurrent('when others may write to a socket’s directory', async () => {
    const home = newHome();
    mkdirSync(home.path('open'));
    chmodSync(home.path('open'), 0o777);
    const { code, stderr } = await refusal(home, { args: ['--socket', home.path('open/api.sock')] });
    expect(sentence(stderr)).toBe(
      `${home.path('open')} can be written to by everybody (mode 0777); the socket needs a directory that only root and the agent's user control`,
    );
    expect(code).toBe(1);
    expect(readdirSync(home.path('open'))).toEqual([]);
    expect(existsSync(home.adminSocket)).toBe(false);
  });

  test.concurrent('when an entry file is bad', async () => {
    const home = newHome({
      'own.yaml': 'entries:\n  - id: a\n    spiffe_id: spiffe://other.org/a\n    selectors: []\n',
    });
    const { code, stderr } = await refusal(home);
    expect(stderr).toContain(`${home.path('entries/own.yaml')}:4:16: `);
    expect(code).toBe(1);
    expect(existsSync(home.socket)).toBe(false);
  });

  (nobodyRuns() ? test.concurrent : test.skip)(
    'when the user lacks the permission (needs root, and a clone that others may read)',
    async () => {
      const home = newHome();
      const withoutData = await refusal(home, { uid: NOBODY });
      expect(withoutData.stderr).toMatch(/^mayfly: data_dir \S+ cannot be written: EACCES.*\n$/);
      expect(withoutData.code).toBe(1);
      mkdirSync(home.dataDir);
      home.give(NOBODY);
      const { chownSync } = process.getBuiltinModule('node:fs');
      mkdirSync(home.path('sockets'));
      chownSync(home.path('sockets'), 0, 0);
      const withoutSocket = await refusal(home, { uid: NOBODY, args: ['--socket', home.path('sockets/api.sock')] });
      expect(sentence(withoutSocket.stderr)).toMatch(
        /^uid 65534 may not .* \(EACCES\); give the directory to this user, or choose another path$/,
      );
      expect(withoutSocket.code).toBe(1);
      expect(readdirSync(home.path('sockets'))).toEqual([]);
      expect(existsSync(home.adminSocket)).toBe(false);
    },
  );

  test.concurrent('when the lock in data_dir is a link to something else', async () => {
    const home = newHome();
    mkdirSync(home.dataDir, { mode: 0o777 });
    home.write('precious', 'as it was');
    symlinkSync(home.path('precious'), join(home.dataDir, 'lock'));
    const { code, stderr } = await refusal(home);
    expect(stderr).toBe(`mayfly: ${join(home.dataDir, 'lock')} was not made by the agent; remove it\n`);
    expect(code).toBe(1);
    expect(readFileSync(home.path('precious'), 'utf8')).toBe('as it was');
  });

  describe('when the keys in data_dir', () => {
    const home = newHome();
    const file = join(home.dataDir, 'authority/keys.json');
    let good: Buffer;

    beforeAll(async () => {
      await using daemon = await Daemon.start(home);
      await daemon.stop();
      good = readFileSync(file);
    });

    async function refused(): Promise<string> {
      const { lock: _, ...before } = filesBelow(home.dataDir);
      const { code, stderr } = await refusal(home);
      expect(code).toBe(1);
      expect(stderr.split('\n')).toHaveLength(2);
      const { lock: __, ...after } = filesBelow(home.dataDir);
      expect(after).toEqual(before);
      expect(existsSync(home.socket)).toBe(false);
      return stderr;
    }

    function lay(content: Buffer | string): void {
      writeFileSync(file, content);
      chmodSync(file, 0o600);
    }

    test('are cut short', async () => {
      lay(good.subarray(0, good.length - 100));
      expect(await refused()).toContain(
        `${file} is damaged: it is no JSON; nothing was changed: restore it from a backup`,
      );
    });

    test('have a turned bit', async () => {
      const text = good.toString();
      const at = text.indexOf('"key"') + 60;
      lay(text.slice(0, at) + (text[at] === 'A' ? 'B' : 'A') + text.slice(at + 1));
      expect(await refused()).toContain(`${file} is damaged: its checksum does not fit`);
    });

    test('are of another trust domain', async () => {
      lay(good.toString().replace('"example.org"', '"other.org"'));
      expect(await refused()).toContain(`${file} holds the keys of trust domain "other.org", not of example.org`);
    });

    test('are no keys at all', async () => {
      lay('{"hello":"world"}');
      expect(await refused()).toContain(`${file} is no key file of this agent`);
    });

    test('can be read by others', async () => {
      lay(good);
      chmodSync(file, 0o644);
      expect(await refused()).toContain(
        `${file} has mode 0644: others have access to the authority's keys; run chmod 600`,
      );
    });

    test('are gone from beside others', async () => {
      lay(good);
      renameSync(file, `${file}.bak`);
      expect(await refused()).toContain('holds keys.json.bak but no keys.json; put the file back');
      renameSync(`${file}.bak`, file);
      await using daemon = await Daemon.start(home);
      expect((await daemon.stop()).code).toBe(0);
    });
  });

  describe('when the disk is full', () => {
    // A page for the lock, and none for the keys; then none at all.
    for (const [what, fill] of [
      ['of keys', ''],
      ['of everything', 'head -c 4096 /dev/zero > "$1/filler";'],
    ] as const) {
      test.skipIf(!hasNamespaces)(`${what} (needs root and mount namespaces)`, async () => {
        const home = newHome();
        mkdirSync(home.dataDir, { mode: 0o700 });
        const script = `mount -t tmpfs -o size=4k,mode=700 none "$1"; ${fill} "$2" "$3" run --config "$4"; code=$?; find "$1" -type f -size +0; exit $code`;
        const child = spawn(
          'unshare',
          ['--mount', 'sh', '-c', script, 'sh', home.dataDir, process.execPath, MAIN, home.config],
          { env: plainEnvironment(), stdio: ['ignore', 'pipe', 'pipe'] },
        );
        const { code, stdout, stderr } = await endOf(child);
        expect(stderr).toMatch(
          /^mayfly: (cannot write \S+keys\.json: the disk is full; free some space|no room for data_dir \S+; free some, or set another)\n$/,
        );
        expect(code).toBe(1);
        expect(stdout).not.toContain('keys.json');
        expect(existsSync(home.socket)).toBe(false);
      });
    }
  });
});

test('without a configuration it says which there could be', async () => {
  const { code, stderr } = await mayfly(['run']);
  expect(stderr).toBe('mayfly: no configuration is named; give --config FILE, or set MAYFLY_CONFIG\n');
  expect(code).toBe(2);
});
