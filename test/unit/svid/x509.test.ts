import { createPublicKey, randomBytes, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { LeafKeyType } from '../../../agent/svid/leaf-key.ts';
import { generateLeafKey } from '../../../agent/svid/leaf-key.ts';
import type { SigningKeyType } from '../../../agent/svid/signing-key.ts';
import { LeafSigner, newSerial } from '../../../agent/svid/x509.ts';
import { leafTerms, makeChain } from '../../support/issuer.ts';
import { HAS_OPENSSL, openssl, pemOf } from '../../support/openssl.ts';

const directory = mkdtempSync(join(tmpdir(), 'mayfly-x509-'));
afterAll(() => rmSync(directory, { recursive: true }));

const P256 = makeChain('ec-p256');

/** The SPIFFE ID, DNS names and all extensions as OpenSSL prints them. */
function textOf(der: Buffer): string {
  return openssl(['x509', '-inform', 'DER', '-noout', '-text'], der).output;
}

function verifyStrictly(root: Buffer, ca: Buffer, leaf: Buffer): { status: number | null; output: string } {
  const path = (name: string, der: Buffer) => {
    const file = join(directory, name);
    writeFileSync(file, pemOf(der));
    return file;
  };
  const files = ['-CAfile', path('root.pem', root), '-untrusted', path('ca.pem', ca), path('leaf.pem', leaf)];
  return openssl(['verify', '-x509_strict', '-check_ss_sig', '-purpose', 'sslserver', ...files]);
}

describe('a leaf', () => {
  test.each<[SigningKeyType, LeafKeyType]>([
    ['ec-p256', 'ec-p256'],
    ['ec-p256', 'rsa-2048'],
    ['ec-p384', 'ec-p384'],
  ])('under %s with a key of %s verifies up to its root and holds the key', async (signing, type) => {
    const chain = signing === 'ec-p256' ? P256 : makeChain(signing);
    const key = await generateLeafKey(type);
    const leaf = new X509Certificate(new LeafSigner(chain.issuer).sign(leafTerms(key.publicKey)));
    const [ca, root] = [new X509Certificate(chain.ca), new X509Certificate(chain.root)];
    expect(leaf.verify(ca.publicKey)).toBe(true);
    expect(leaf.checkIssued(ca)).toBe(true);
    expect(ca.verify(root.publicKey)).toBe(true);
    expect(ca.checkIssued(root)).toBe(true);
    expect(root.verify(root.publicKey)).toBe(true);
    expect(leaf.publicKey.equals(createPublicKey({ key: key.publicKey, type: 'spki', format: 'der' }))).toBe(true);
    expect([leaf.ca, ca.ca, root.ca]).toEqual([false, true, true]);
  });

  test('has the SPIFFE ID as its first SAN and its only URI, the DNS names behind it and the first as common name', async () => {
    const { publicKey } = await generateLeafKey('ec-p256');
    const dnsNames = ['payments.internal', 'payments.example.org'];
    const leaf = new X509Certificate(new LeafSigner(P256.issuer).sign(leafTerms(publicKey, { dnsNames })));
    expect(leaf.subjectAltName).toBe(
      'URI:spiffe://example.org/payments, DNS:payments.internal, DNS:payments.example.org',
    );
    expect(leaf.subject).toBe('O=Mayfly\nCN=payments.internal');
  });

  test('has a subject without common name where there is no DNS name, or one longer than 64', async () => {
    const { publicKey } = await generateLeafKey('ec-p256');
    const signer = new LeafSigner(P256.issuer);
    const long = `${'a'.repeat(60)}.test`;
    for (const dnsNames of [[], [long]]) {
      expect(new X509Certificate(signer.sign(leafTerms(publicKey, { dnsNames }))).subject).toBe('O=Mayfly');
    }
  });

  test('has its times cut to the second', async () => {
    const { publicKey } = await generateLeafKey('ec-p256');
    const times = { notBefore: Date.UTC(2049, 11, 31, 23, 59, 50, 999), notAfter: Date.UTC(2050, 0, 1, 0, 0, 0, 1) };
    const leaf = new X509Certificate(new LeafSigner(P256.issuer).sign({ ...leafTerms(publicKey), ...times }));
    expect(leaf.validFromDate.toISOString()).toBe('2049-12-31T23:59:50.000Z');
    expect(leaf.validToDate.toISOString()).toBe('2050-01-01T00:00:00.000Z');
  });

  test.skipIf(!HAS_OPENSSL)('has exactly the extensions of the profile (skipped without openssl)', async () => {
    const { publicKey } = await generateLeafKey('ec-p256');
    const text = textOf(new LeafSigner(P256.issuer).sign(leafTerms(publicKey)));
    const names = [...text.matchAll(/^ {12}X509v3 (.*): ?(critical)?$/gm)].map(([, name, critical]) =>
      `${name} ${critical ?? ''}`.trim(),
    );
    expect(names).toEqual([
      'Key Usage critical',
      'Extended Key Usage',
      'Basic Constraints critical',
      'Authority Key Identifier',
      'Subject Key Identifier',
      'Subject Alternative Name',
    ]);
    expect(text).toContain('Version: 3 (0x2)');
    expect(text).toMatch(/Key Usage: critical\n +Digital Signature\n/);
    expect(text).toContain('TLS Web Server Authentication, TLS Web Client Authentication');
    expect(text).toContain('CA:FALSE');
  });

  test.skipIf(!HAS_OPENSSL)('of RSA may encipher keys too (skipped without openssl)', async () => {
    const { publicKey } = await generateLeafKey('rsa-2048');
    const text = textOf(new LeafSigner(P256.issuer).sign(leafTerms(publicKey)));
    expect(text).toMatch(/Key Usage: critical\n +Digital Signature, Key Encipherment\n/);
  });
});

describe.skipIf(!HAS_OPENSSL)('openssl verify -x509_strict (skipped without openssl)', () => {
  test.each<[SigningKeyType, LeafKeyType, boolean]>([
    ['ec-p256', 'ec-p256', false],
    ['ec-p256', 'rsa-2048', false],
    ['ec-p384', 'ec-p256', false],
    ['ec-p256', 'ec-p256', true],
  ])('accepts a chain of %s with a leaf of %s, name constraint %s', async (signing, type, nameConstraint) => {
    const { root, ca, issuer } = makeChain(signing, { nameConstraint });
    const { publicKey } = await generateLeafKey(type);
    const leaf = new LeafSigner(issuer).sign(leafTerms(publicKey, { dnsNames: ['payments.internal'] }));
    expect(verifyStrictly(root, ca, leaf)).toMatchObject({ status: 0, output: expect.stringContaining('OK') });
  });

  test('refuses a leaf of another trust domain under a name constraint, and accepts it without', async () => {
    const { publicKey } = await generateLeafKey('ec-p256');
    const foreign = leafTerms(publicKey, { id: 'spiffe://other.test/payments' });
    const confined = makeChain('ec-p256', { nameConstraint: true });
    const refused = verifyStrictly(confined.root, confined.ca, new LeafSigner(confined.issuer).sign(foreign));
    expect(refused.status).not.toBe(0);
    expect(refused.output).toContain('permitted subtree violation');
    expect(verifyStrictly(P256.root, P256.ca, new LeafSigner(P256.issuer).sign(foreign)).status).toBe(0);
  });

  test('refuses another CA below the issuing CA: its path length is 0', async () => {
    const below = makeChain('ec-p256');
    const { publicKey } = await generateLeafKey('ec-p256');
    const leaf = new LeafSigner(below.issuer).sign(leafTerms(publicKey));
    expect(verifyStrictly(P256.root, P256.ca, leaf).status).not.toBe(0);
    expect(textOf(P256.ca)).toContain('CA:TRUE, pathlen:0');
  });

  test('CA certificates have the trust domain as their ID, and may sign certificates and lists alone', () => {
    for (const der of [P256.root, P256.ca]) {
      const text = textOf(der);
      expect(text).toContain('URI:spiffe://example.org\n');
      expect(text).toMatch(/Key Usage: critical\n +Certificate Sign, CRL Sign\n/);
      expect(text).toMatch(/Basic Constraints: critical\n/);
      expect(text).not.toContain('Extended Key Usage');
    }
  });
});

test('serials have 128 random bits, are positive, and print without a leading zero', () => {
  const none = newSerial((bytes) => Buffer.alloc(bytes));
  const all = newSerial((bytes) => Buffer.alloc(bytes, 0xff));
  expect(none.toString('hex')).toBe(`4d${'00'.repeat(16)}`);
  expect(all.toString('hex')).toBe(`4d${'ff'.repeat(16)}`);
  const leaf = new X509Certificate(
    new LeafSigner(P256.issuer).sign({ ...leafTerms(P256.issuer.key.publicKey), serial: all }),
  );
  expect(leaf.serialNumber.toLowerCase()).toBe(all.toString('hex'));
  const many = new Set(Array.from({ length: 1000 }, () => newSerial(randomBytes).toString('hex')));
  expect(many.size).toBe(1000);
});
