import { hash } from 'node:crypto';
import { AnySchema } from '@bufbuild/protobuf/wkt';
import { SecretSchema } from '../../gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.js';
import type { X509Svid } from '../../lease/svid.ts';
import type { Part } from '../wire-format.ts';
import { bytesPart, field } from '../wire-format.ts';

/** One secret under one name. */
export interface Resource {
  readonly name: string;
  /** Of two that say the same it is the same, whoever asks and whenever. */
  readonly version: string;
  /** The content of a `google.protobuf.Any`. */
  readonly any: readonly Part[];
  /** Set where a private key is in it. */
  readonly svid?: X509Svid;
}

export const SECRET_TYPE = `type.googleapis.com/${SecretSchema.typeName}`;

const { typeUrl, value } = AnySchema.field;

/** @param secret the content of a `Secret` */
export function anyOf(...secret: readonly Part[]): readonly Part[] {
  return [field(typeUrl.number, bytesPart(Buffer.from(SECRET_TYPE))), field(value.number, ...secret)];
}

/** @param content all that tells one secret of that name from another, and no key */
export function versionOf(name: string, content: Uint8Array): string {
  return hash('sha256', Buffer.concat([Buffer.from(`${name}\0`), content])).slice(0, 16);
}
