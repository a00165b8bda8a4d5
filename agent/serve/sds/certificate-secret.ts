import { DataSourceSchema } from '../../gen/envoy/config/core/v3/base_pb.js';
import { SecretSchema, TlsCertificateSchema } from '../../gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.js';
import type { X509Svid } from '../../lease/svid.ts';
import { certificatesToPem } from '../../svid/certificate.ts';
import { keyPemLength, writeKeyPem } from '../../svid/secret-pem.ts';
import { once } from '../once.ts';
import type { Part } from '../wire-format.ts';
import { bytesPart, field } from '../wire-format.ts';
import type { Resource } from './resource.ts';
import { anyOf, versionOf } from './resource.ts';

const SECRET = SecretSchema.field;
const TLS_CERTIFICATE = TlsCertificateSchema.field;
const DATA_SOURCE = DataSourceSchema.field;

/** A certificate with its key. Made once for each name: a process may follow one identity on a thousand streams. The key is where it was. */
export function certificateSecret(name: string, svid: X509Svid): Resource {
  const known = secretsOf(svid);
  let resource = known.get(name);
  if (resource === undefined) {
    resource = makeSecret(name, svid);
    known.set(name, resource);
  }
  return resource;
}

const secretsOf = once((_svid: X509Svid) => new Map<string, Resource>());

function makeSecret(name: string, svid: X509Svid): Resource {
  const chain = Buffer.from(certificatesToPem(svid.chain));
  const key = svid.privateKey.reveal();
  const keyPem: Part = { length: keyPemLength(key.length), write: (into, at) => writeKeyPem(key, into, at) };
  const certificate = field(
    SECRET.tlsCertificate.number,
    field(TLS_CERTIFICATE.certificateChain.number, field(DATA_SOURCE.inlineBytes.number, bytesPart(chain))),
    field(TLS_CERTIFICATE.privateKey.number, field(DATA_SOURCE.inlineBytes.number, keyPem)),
  );
  return {
    name,
    // A key has exactly one certificate.
    version: versionOf(name, chain),
    any: anyOf(field(SECRET.name.number, bytesPart(Buffer.from(name))), certificate),
    svid,
  };
}
