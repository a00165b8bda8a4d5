import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tool } from '../toolchains.ts';

/** A certificate that the cluster's CA signs, with a key beside it. */
interface CertificateSpec {
  readonly name: string;
  readonly subject: string;
  readonly usage: 'serverAuth' | 'clientAuth';
  readonly names?: readonly string[];
}

/**
 * The certificates and keys of a cluster, in a directory: `ca`, one of each spec, and the key that signs the tokens of service accounts
 * (`sa.key`, `sa.pub`).
 */
export async function makePki(directory: string, specs: readonly CertificateSpec[]): Promise<void> {
  const openssl = (...args: string[]) => tool('openssl', args, directory);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  await openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-subj', '/CN=cluster', '-days', '7', '-out', 'ca.crt');
  await openssl('genrsa', '-out', 'sa.key', '2048');
  await openssl('rsa', '-in', 'sa.key', '-pubout', '-out', 'sa.pub');
  await Promise.all(
    specs.map(async ({ name, subject, usage, names = [] }) => {
      const [request, extensions] = [`${name}.csr`, `${name}.ext`];
      const alternative = names.length === 0 ? '' : `subjectAltName=${names.join(',')}\n`;
      writeFileSync(join(directory, extensions), `extendedKeyUsage=${usage}\n${alternative}`);
      await openssl('req', ...key, '-keyout', `${name}.key`, '-subj', subject, '-out', request);
      const by = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-days', '7', '-extfile', extensions];
      await openssl('x509', '-req', '-in', request, ...by, '-out', `${name}.crt`);
    }),
  );
}
