import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { Agent, entry, TRUST_DOMAIN } from './agent.ts';
import { openSsl } from './consumers.ts';
import { equipped } from './equipment.ts';
import { cell, evidence } from './evidence/evidence.ts';
import { OpensslProcess, tell } from './openssl-process.ts';

const { openssl } = inject('equipment');
const main = join(import.meta.dirname, '..', '..', 'agent', 'main.ts');
const run = promisify(execFile);
const SPIFFE_ID = `spiffe://${TRUST_DOMAIN}/first`;
const CHAIN = evidence(cell(openSsl, 'chain'));
const HANDSHAKE = evidence(cell(openSsl, 'handshake'));
const ENTRIES = [entry('first', { dns_names: ['first.internal'] })];

equipped('OpenSSL', [openssl], () => {
  let agent: Agent;
  let directory: string;
  /** The files of `mayfly fetch x509 --write`. */
  const file = (name: 'svid' | 'key' | 'bundle') => join(directory, 'svid', `${name}.pem`);
  async function write(from: Agent, into: string): Promise<string> {
    const path = join(directory, into);
    await run(process.execPath, [main, 'fetch', 'x509', '--socket', from.socket, '--write', path], { timeout: 20_000 });
    return path;
  }

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'mayfly-openssl-'));
    agent = await Agent.start(ENTRIES);
    await write(agent, 'svid');
  });
  afterAll(async () => {
    await agent[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  describe('verifies the chain, by the letter of RFC 5280,', () => {
    const verify = (...args: string[]) =>
      tell('verify', '-x509_strict', '-no-CApath', '-no-CAstore', ...args, '-untrusted', file('svid'), file('svid'));

    for (const purpose of ['sslserver', 'sslclient']) {
      it(`for ${purpose}`, CHAIN, async () => {
        expect(await verify('-CAfile', file('bundle'), '-purpose', purpose)).toBe(`${file('svid')}: OK\n`);
      });
    }

    it('and not under the root of another agent', CHAIN, async () => {
      await using another = await Agent.start(ENTRIES);
      const theirs = await write(another, 'another');
      await expect(verify('-CAfile', join(theirs, 'bundle.pem'))).rejects.toMatchObject({
        stderr: expect.stringContaining('unable to get local issuer certificate'),
      });
    });
  });

  it('finds the leaf as the X509-SVID profile has it', CHAIN, async () => {
    const text = await tell('x509', '-in', file('svid'), '-noout', '-text');
    expect(text).toContain('Version: 3 (0x2)');
    expect(text).toContain('Public Key Algorithm: id-ecPublicKey');
    expect(text).toContain('NIST CURVE: P-256');
    const extensions = extensionsOf(text);
    expect(extensions.get('X509v3 Key Usage: critical')).toBe('Digital Signature');
    expect(extensions.get('X509v3 Extended Key Usage')).toBe(
      'TLS Web Server Authentication, TLS Web Client Authentication',
    );
    expect(extensions.get('X509v3 Basic Constraints: critical')).toBe('CA:FALSE');
    expect(extensions.get('X509v3 Subject Alternative Name')).toBe(`URI:${SPIFFE_ID}, DNS:first.internal`);
    expect(extensions.get('X509v3 Subject Key Identifier')).toMatch(/^([0-9A-F]{2}:){19}[0-9A-F]{2}$/);
    const issuing = extensionsOf(await tell('x509', '-in', issuer(), '-noout', '-text'));
    expect(extensions.get('X509v3 Authority Key Identifier')).toBe(issuing.get('X509v3 Subject Key Identifier'));
    expect(extensions.size).toBe(6);
  });

  it('finds the issuing CA confined to leaves', CHAIN, async () => {
    const extensions = extensionsOf(await tell('x509', '-in', issuer(), '-noout', '-text'));
    expect(extensions.get('X509v3 Basic Constraints: critical')).toBe('CA:TRUE, pathlen:0');
    expect(extensions.get('X509v3 Key Usage: critical')).toBe('Certificate Sign, CRL Sign');
    expect(extensions.get('X509v3 Subject Alternative Name')).toBe(`URI:spiffe://${TRUST_DOMAIN}`);
  });

  it('finds the key to be that of the leaf', CHAIN, async () => {
    const ofCertificate = await tell('x509', '-in', file('svid'), '-noout', '-pubkey');
    expect(await tell('pkey', '-in', file('key'), '-pubout')).toBe(ofCertificate);
  });

  describe('does an mTLS handshake with the files', () => {
    const trust = () => [
      '-x509_strict',
      '-CAfile',
      file('bundle'),
      '-no-CApath',
      '-no-CAstore',
      '-verify_return_error',
    ];
    const credentials = () => ['-cert', file('svid'), '-cert_chain', issuer(), '-key', file('key')];

    /** A server that demands a certificate, and one `s_client` that speaks to it; what both have said. */
    async function handshake(...args: readonly string[]): Promise<{ client: string; server: string }> {
      const demand = ['-accept', '127.0.0.1:0', '-naccept', '1', '-Verify', '2'];
      const server = new OpensslProcess('s_server', [...demand, ...credentials(), ...trust()]);
      try {
        const [, address = ''] = await server.says(/^ACCEPT (\S+)$/m);
        const client = new OpensslProcess('s_client', ['-connect', address, '-verify', '2', ...args, ...trust()]);
        client.process.stdin.end('hello from the client\n');
        await Promise.all([client.ended, server.ended]);
        return { client: client.output, server: server.output };
      } finally {
        server.process.kill('SIGKILL');
      }
    }

    it('in TLS 1.3', HANDSHAKE, async () => {
      const { client, server } = await handshake('-tls1_3', ...credentials());
      expect(client).toContain('Verify return code: 0 (ok)');
      expect(client).toContain('TLSv1.3');
      expect(server).toContain('hello from the client');
    });

    it('in TLS 1.2', HANDSHAKE, async () => {
      const { client, server } = await handshake('-tls1_2', ...credentials());
      expect(client).toContain('Verify return code: 0 (ok)');
      expect(client).toContain('TLSv1.2');
      expect(server).toContain('hello from the client');
    });

    it('and refuses a client without a certificate', HANDSHAKE, async () => {
      const { server } = await handshake('-tls1_3');
      expect(server).toContain('peer did not return a certificate');
      expect(server).not.toContain('hello from the client');
    });
  });

  /** The second certificate of the chain, in a file of its own as these tools want it. */
  function issuer(): string {
    const chain = readFileSync(file('svid'), 'utf8').match(/-----BEGIN[^]+?-----END CERTIFICATE-----\n/g) ?? [];
    expect(chain).toHaveLength(2);
    const path = join(directory, 'issuer.pem');
    writeFileSync(path, chain[1] ?? '');
    return path;
  }
});

/** The extensions by name and criticality, as `openssl x509 -text` prints them. */
function extensionsOf(text: string): Map<string, string> {
  const [, extensions = ''] = /X509v3 extensions:\n([^]*?)\n {4}Signature Algorithm/.exec(text) ?? [];
  const found = extensions.matchAll(/^ {12}(\S[^\n]*?): ?(critical)?\s*\n((?: {16}[^\n]*\n?)+)/gm);
  return new Map(
    [...found].map(([, name, critical, value = '']) => [
      critical === undefined ? `${name}` : `${name}: critical`,
      value.trim(),
    ]),
  );
}
