// A process that comes, fetches an X.509-SVID, verifies it and says which it was; then it leaves without a word, or hangs until it is
// killed. With as little code as that takes, since many of them come. Arguments: the socket, and `leave` or `hang`.
import { X509Certificate } from 'node:crypto';
import { connect } from 'node:http2';
import { connect as connectSocket } from 'node:net';

/** What it says: one JSON line. */
export interface ShortSaid {
  readonly id: string;
  readonly serial: string;
  /** True when the chain leads from the leaf to the bundle. */
  readonly verified: boolean;
  /** True for a first `update`, false for what ended the stream before one. */
  readonly issuer: string;
}

const [path = '', how] = process.argv.slice(2);
const session = connect('http://localhost', { createConnection: () => connectSocket(path) });
const stream = session.request({
  ':method': 'POST',
  ':path': '/SpiffeWorkloadAPI/FetchX509SVID',
  'content-type': 'application/grpc',
  te: 'trailers',
  'workload.spiffe.io': 'true',
});
stream.end(Buffer.alloc(5));

let received = Buffer.alloc(0);
for await (const chunk of stream) {
  received = Buffer.concat([received, chunk as Buffer]);
  if (received.length < 5 || received.length < 5 + received.readUInt32BE(1)) continue;
  process.stdout.write(`${JSON.stringify(describe(received.subarray(5)))}\n`);
  break;
}
if (how === 'hang') setInterval(() => undefined, 60_000);
else process.exit(received.length > 5 ? 0 : 1);

function describe(response: Buffer): ShortSaid {
  const [svid = Buffer.alloc(0)] = fieldsOf(response, 1);
  const [id, chain, , bundle] = [1, 2, 3, 4].map((number) => fieldsOf(svid, number)[0] ?? Buffer.alloc(0));
  const [leaf, issuing] = certificates(chain);
  const verified =
    leaf !== undefined &&
    issuing !== undefined &&
    leaf.verify(issuing.publicKey) &&
    certificates(bundle).some((root) => issuing.verify(root.publicKey));
  return {
    id: String(id),
    serial: leaf?.serialNumber.toLowerCase() ?? '',
    verified,
    issuer: issuing?.serialNumber.toLowerCase() ?? '',
  };
}

/** The values of a length-delimited field, of a message that has no others. */
function fieldsOf(message: Buffer, wanted: number): Buffer[] {
  const values: Buffer[] = [];
  for (let at = 0; at < message.length; ) {
    const tag = message[at] ?? 0;
    let length = 0;
    let shift = 0;
    for (;;) {
      at += 1;
      const byte = message[at] ?? 0;
      length |= (byte & 0x7f) << shift;
      shift += 7;
      if (byte < 0x80) break;
    }
    at += 1;
    if (tag >> 3 === wanted) values.push(message.subarray(at, at + length));
    at += length;
  }
  return values;
}

function certificates(der: Buffer | undefined): X509Certificate[] {
  const found: X509Certificate[] = [];
  for (let rest = der ?? Buffer.alloc(0); rest.length > 0; ) {
    const certificate = new X509Certificate(rest);
    found.push(certificate);
    rest = rest.subarray(certificate.raw.length);
  }
  return found;
}
