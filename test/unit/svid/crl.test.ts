import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { RevocationReason } from '../../../agent/svid/crl.ts';
import { encodeRevoked, signCrl } from '../../../agent/svid/crl.ts';
import { generateLeafKey } from '../../../agent/svid/leaf-key.ts';
import { LeafSigner } from '../../../agent/svid/x509.ts';
import { leafTerms, makeChain } from '../../support/issuer.ts';
import { HAS_OPENSSL, openssl, pemOf } from '../../support/openssl.ts';

const directory = mkdtempSync(join(tmpdir(), 'mayfly-crl-'));
afterAll(() => rmSync(directory, { recursive: true }));

const { root, rootIssuer, ca, issuer } = makeChain('ec-p256');
const now = Date.now();
const terms = { number: 1, thisUpdate: now - 1000, nextUpdate: now + 3_600_000, entries: [] };

function textOf(crl: Buffer): string {
  return openssl(['crl', '-inform', 'DER', '-noout', '-text'], crl).output;
}

function write(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

function crlPem(der: Buffer): string {
  return openssl(['crl', '-inform', 'DER', '-outform', 'PEM'], der).output;
}

describe('an entry', () => {
  test('without a reason is serial and time alone', () => {
    const entry = encodeRevoked('4d00ff', Date.UTC(2026, 0, 2, 3, 4, 5), undefined);
    expect(entry.toString('hex')).toBe(`301402034d00ff170d${Buffer.from('260102030405Z').toString('hex')}`);
  });

  test('takes a serial of odd length and one with its highest bit set', () => {
    expect(encodeRevoked('abc', 0, undefined).toString('hex', 2, 6)).toBe('02020abc');
    expect(encodeRevoked('ff', 0, undefined).toString('hex', 2, 6)).toBe('020200ff');
  });
});

describe.skipIf(!HAS_OPENSSL)('openssl crl (skipped without openssl)', () => {
  test('reads version, number, issuer, times and AKI of an empty list, and verifies it', () => {
    const crl = signCrl({ ...terms, number: 300 }, issuer);
    const text = textOf(crl);
    expect(text).toContain('Version 2 (0x1)');
    expect(text).toMatch(/X509v3 CRL Number: \n +300\n/);
    expect(text).toContain('No Revoked Certificates.');
    const colons = issuer.keyId.toString('hex').toUpperCase().match(/../g)?.join(':');
    expect(text).toContain(`X509v3 Authority Key Identifier: \n                ${colons}`);
    const verified = openssl(['crl', '-inform', 'DER', '-noout', '-CAfile', write('ca.pem', pemOf(ca))], crl);
    expect(verified.output).toContain('verify OK');
  });

  test.each<[RevocationReason, string]>([
    ['keyCompromise', 'Key Compromise'],
    ['affiliationChanged', 'Affiliation Changed'],
    ['superseded', 'Superseded'],
    ['cessationOfOperation', 'Cessation Of Operation'],
    ['privilegeWithdrawn', 'Privilege Withdrawn'],
  ])('reads the reason %s', (reason, printed) => {
    const text = textOf(signCrl({ ...terms, entries: [encodeRevoked('4dab', now, reason)] }, issuer));
    expect(text).toContain('Serial Number: 4DAB');
    expect(text).toMatch(new RegExp(`X509v3 CRL Reason Code: \\n +${printed}\\n`));
  });

  test('a revoked leaf is refused, another one is not, and an empty list takes it back', async () => {
    const signer = new LeafSigner(issuer);
    const [gone, alive] = await Promise.all(
      [0, 1].map(async () => leafTerms((await generateLeafKey('ec-p256')).publicKey)),
    );
    const entries = [encodeRevoked(gone!.serial.toString('hex'), now, 'cessationOfOperation')];
    const rootList = crlPem(signCrl(terms, rootIssuer));
    const check = (leaf: Buffer, list: Buffer) => {
      const trusted = ['-CAfile', write('root.pem', pemOf(root)), '-untrusted', write('ca.pem', pemOf(ca))];
      const lists = ['-CRLfile', write('lists.pem', rootList + crlPem(list))];
      const file = write('leaf.pem', pemOf(leaf));
      return openssl(['verify', '-x509_strict', '-crl_check_all', ...trusted, ...lists, file]);
    };
    const revoked = check(signer.sign(gone!), signCrl({ ...terms, entries }, issuer));
    expect(revoked.status).not.toBe(0);
    expect(revoked.output).toContain('certificate revoked');
    expect(check(signer.sign(alive!), signCrl({ ...terms, entries }, issuer)).output).toContain('OK');
    expect(check(signer.sign(gone!), signCrl({ ...terms, number: 2 }, issuer)).output).toContain('OK');
  });

  test('a list of ten thousand is whole', () => {
    const entries = Array.from({ length: 10_000 }, (_, index) => encodeRevoked(`4d${index + 0x10000}`, now, undefined));
    const text = textOf(signCrl({ ...terms, entries }, issuer));
    expect(text.match(/Serial Number:/g)).toHaveLength(10_000);
  });
});
