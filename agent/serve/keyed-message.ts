import { SecretMessage } from './secret-message.ts';
import { bytesPart, field, joined } from './wire-format.ts';

/** One SVID of an answer: its message without the key, and the key. */
export interface KeyedPart {
  readonly open: Uint8Array;
  readonly key: Buffer;
}

// Of workload.proto, for what is written by hand, the same in X509SVIDResponse and in WITSVIDResponse: `svids`, and in it
// `x509_svid_key` or `wit_svid_key`. A string and bytes are one wire type.
const SVIDS = 1;
const SVID_KEY = 3;

/**
 * An answer with private keys in it. What is public is encoded elsewhere, once for all streams; private keys are written straight into
 * the one buffer that is sent.
 *
 * @param rest other fields of the answer, encoded
 */
export function keyedMessage(parts: readonly KeyedPart[], ...rest: readonly Uint8Array[]): SecretMessage {
  const svids = parts.map(({ key, open }) => field(SVIDS, bytesPart(open), field(SVID_KEY, bytesPart(key))));
  return new SecretMessage(joined(...svids, ...rest.map(bytesPart)));
}
