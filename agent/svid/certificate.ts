import { X509Certificate } from 'node:crypto';
import { MayflyError } from '../kernel/errors.ts';

/** A certificate as a person reads it. Times in milliseconds since the epoch. */
export interface CertificateDescription {
  /** The first SAN where it is a SPIFFE ID, as it stands there. */
  readonly id: string | undefined;
  readonly subject: string;
  readonly issuer: string;
  /** Lower-case hexadecimal. */
  readonly serial: string;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly ca: boolean;
}

const SEQUENCE = 0x30;

/**
 * Takes apart what the Workload API joins: certificates in DER, one behind the other without padding.
 *
 * @throws MayflyError `INVALID_REQUEST` when the bytes are something else
 */
export function splitCertificates(bytes: Buffer): Buffer[] {
  const certificates: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + elementBytes(bytes, at);
    if (end > bytes.length) throw malformed('are cut short');
    certificates.push(bytes.subarray(at, end));
    at = end;
  }
  return certificates;
}

/** @throws MayflyError `INVALID_REQUEST` when the bytes are no certificate */
export function describeCertificate(der: Buffer): CertificateDescription {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(der);
  } catch (cause) {
    throw malformed('are no X.509 certificate', cause);
  }
  return {
    // Node puts a name into quotes when it holds a comma or anything else that could look like a second one.
    id: /^URI:(spiffe:[^",]+)/.exec(certificate.subjectAltName ?? '')?.[1],
    subject: onOneLine(certificate.subject),
    issuer: onOneLine(certificate.issuer),
    serial: certificate.serialNumber.toLowerCase(),
    notBefore: certificate.validFromDate.getTime(),
    notAfter: certificate.validToDate.getTime(),
    ca: certificate.ca,
  };
}

/** Certificates in PEM, one behind the other. */
export function certificatesToPem(certificates: readonly Buffer[]): string {
  return certificates.map((der) => toPem('CERTIFICATE', der)).join('');
}

/** Any DER in PEM (RFC 7468). For a private key the label is `PRIVATE KEY`, and the text is as secret as the key. */
export function toPem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** The length of the SEQUENCE at `at`, its header included. */
function elementBytes(bytes: Buffer, at: number): number {
  const first = bytes[at + 1];
  if (bytes[at] !== SEQUENCE || first === undefined) throw malformed('are no certificates in DER');
  if (first < 0x80) return 2 + first;
  const lengthBytes = first & 0x7f;
  if (lengthBytes === 0 || lengthBytes > 4) throw malformed('are no certificates in DER');
  if (at + 2 + lengthBytes > bytes.length) throw malformed('are cut short');
  return 2 + lengthBytes + bytes.readUIntBE(at + 2, lengthBytes);
}

function onOneLine(name: string): string {
  return name.replaceAll('\n', ', ');
}

function malformed(problem: string, cause?: unknown): MayflyError {
  return new MayflyError('INVALID_REQUEST', `the bytes of the certificate chain ${problem}`, { cause });
}
