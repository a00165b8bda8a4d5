import { X509Certificate } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { certificatesToPem, describeCertificate, splitCertificates, toPem } from '../../../agent/svid/certificate.ts';
import { generateLeafKey } from '../../../agent/svid/leaf-key.ts';
import { LeafSigner } from '../../../agent/svid/x509.ts';
import { leafTerms, makeChain } from '../../support/issuer.ts';

const { ca, root, issuer } = makeChain('ec-p256');
const { publicKey } = await generateLeafKey('ec-p256');
const terms = leafTerms(publicKey, { dnsNames: ['payments.internal'] });
const leaf = new LeafSigner(issuer).sign(terms);

describe('a chain', () => {
  test('is taken apart where it was joined', () => {
    expect(splitCertificates(Buffer.concat([leaf, ca, root]))).toEqual([leaf, ca, root]);
    expect(splitCertificates(Buffer.alloc(0))).toEqual([]);
  });

  test.each([
    ['cut short', leaf.subarray(0, -1), 'are cut short'],
    ['cut within a length', Buffer.from('308202', 'hex'), 'are cut short'],
    ['of one octet', Buffer.from([0x30]), 'are no certificates in DER'],
    ['of indefinite length', Buffer.from('3080', 'hex'), 'are no certificates in DER'],
    ['with something behind', Buffer.concat([leaf, Buffer.from('more')]), 'are no certificates in DER'],
  ])('that is %s is refused', (_, bytes, problem) => {
    expect(() => splitCertificates(bytes)).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST', message: `the bytes of the certificate chain ${problem}` }),
    );
  });
});

describe('a description', () => {
  test('says id, names, serial and validity', () => {
    const caName = `O=Mayfly, CN=issuing CA ${issuer.keyId.toString('hex', 0, 8)}`;
    expect(describeCertificate(leaf)).toEqual({
      id: 'spiffe://example.org/payments',
      subject: 'O=Mayfly, CN=payments.internal',
      issuer: caName,
      serial: terms.serial.toString('hex'),
      notBefore: Math.floor(terms.notBefore / 1000) * 1000,
      notAfter: Math.floor(terms.notAfter / 1000) * 1000,
      ca: false,
    });
    expect(describeCertificate(ca)).toMatchObject({ id: 'spiffe://example.org', subject: caName, ca: true });
  });

  test('of something else is refused', () => {
    expect(() => describeCertificate(Buffer.from('3000', 'hex'))).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST' }),
    );
  });
});

test('PEM is what OpenSSL writes', () => {
  expect(certificatesToPem([leaf, ca])).toBe(new X509Certificate(leaf).toString() + new X509Certificate(ca).toString());
  expect(toPem('PRIVATE KEY', Buffer.from([1, 2, 3]))).toBe(
    '-----BEGIN PRIVATE KEY-----\nAQID\n-----END PRIVATE KEY-----\n',
  );
});
