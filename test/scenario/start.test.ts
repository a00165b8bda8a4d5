import { X509Certificate } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Daemon, leasesGone, refusal, sentence } from '../support/daemon.ts';
import { Home } from '../support/home.ts';
import { eventually } from '../support/json-lines.ts';
import { HAS_OPENSSL, openssl } from '../support/openssl.ts';
import { besidesMachine } from '../support/warnings.ts';
import { WorkloadClient } from '../support/workload-client.ts';
import type { SaidX509 } from '../support/workload-said.ts';

const homes: Home[] = [];

function newHome(...args: ConstructorParameters<typeof Home>): Home {
  const home = new Home(...args);
  homes.push(home);
  return home;
}

afterAll(() => {
  for (const home of homes) home.remove();
});

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
    expect(modes).toEqual({
      '.': '700',
      authority: '700',
      'authority/keys.json': '600',
      ledger: '700',
      'ledger/issuance-0000000000000001.jsonl': '600',
      'ledger/key.pem': '600',
      'ledger/reserve': '600',
      'ledger/use-0000000000000001.jsonl': '600',
      lock: '600',
    });
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
    // The end of the workload before is recorded first.
    await leasesGone(daemon);
    await eventually('the ledger is at rest', async () => (await daemon.status()).ledger?.pending === 0 || undefined);
    const files = home.dataFiles();
    const { code, stderr, stdout } = await refusal(sockets, { args: ['--data-dir', home.dataDir] });
    expect(stderr).toBe(
      `mayfly: ${home.dataDir} is in use by the agent with process id ${daemon.pid}; stop it, or set another data_dir\n`,
    );
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(existsSync(sockets.socket)).toBe(false);
    expect(home.dataFiles()).toEqual(files);
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

  test('has the same root, issuing CA, JWT and WIT key after a restart, and what it signed before still verifies', async () => {
    const keys = await keysOf(daemon);
    expect(keys.map((key) => key.replace(/ .* /, ' '))).toEqual([
      'root active',
      'issuing-ca active',
      'jwt active',
      'wit active',
    ]);
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
      expect(besidesMachine((await daemon.status()).warnings)).toEqual([]);
    } else {
      const { code, stderr } = await refusal(home, { args: ['--set', 'peer.require_pidfd=true'] });
      expect(code).toBe(1);
      expect(stderr).toContain('this kernel has no SO_PEERPIDFD (Linux 6.5)');
    }
  });
});
