/** What a test asks of a list; times in milliseconds since the epoch. Whether it is signed rightly is for OpenSSL to say. */
export interface ReadCrl {
  /** The common name of the issuer. */
  readonly issuer: string;
  readonly number: number;
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  /** In hexadecimal, as OpenSSL prints them in lower case. */
  readonly serials: readonly string[];
  readonly pem: string;
}

interface Element {
  readonly tag: number;
  readonly content: Buffer;
}

/** The lists of an answer. */
export function readCrls(ders: readonly Uint8Array[]): ReadCrl[] {
  return ders.map((der) => readCrl(Buffer.from(der)));
}

function readCrl(der: Buffer): ReadCrl {
  const [list = nothing] = elementsIn(der);
  const [toBeSigned = nothing] = elementsIn(list.content);
  const fields = elementsIn(toBeSigned.content);
  const [, , name = nothing, thisUpdate = nothing, nextUpdate = nothing] = fields;
  // An absent list of entries means that nothing is revoked; the extensions are the last field.
  const entries = fields[5]?.tag === 0x30 ? elementsIn(fields[5].content) : [];
  const extensions = elementsIn(elementsIn(fields.at(-1)?.content ?? Buffer.alloc(0))[0]?.content ?? Buffer.alloc(0));
  const numberOid = Buffer.from('551d14', 'hex');
  const number = extensions
    .map(({ content }) => elementsIn(content))
    .find(([oid]) => oid?.content.equals(numberOid) === true)
    ?.at(-1);
  return {
    issuer: commonName(name.content),
    number: Number.parseInt(elementsIn(number?.content ?? Buffer.alloc(0))[0]?.content.toString('hex') ?? '', 16),
    thisUpdate: timeOf(thisUpdate.content),
    nextUpdate: timeOf(nextUpdate.content),
    serials: entries.map(({ content }) => (elementsIn(content)[0]?.content.toString('hex') ?? '').replace(/^0+/, '')),
    pem: `-----BEGIN X509 CRL-----\n${der.toString('base64').replaceAll(/.{64}/g, '$&\n')}\n-----END X509 CRL-----\n`,
  };
}

const nothing: Element = { tag: 0, content: Buffer.alloc(0) };

function elementsIn(bytes: Buffer): Element[] {
  const found: Element[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes[at] ?? 0;
    const first = bytes[at + 1] ?? 0;
    const size = first < 0x80 ? 0 : first & 0x7f;
    const length = size === 0 ? first : bytes.readUIntBE(at + 2, size);
    const start = at + 2 + size;
    found.push({ tag, content: bytes.subarray(start, start + length) });
    at = start + length;
  }
  return found;
}

function commonName(name: Buffer): string {
  const attributes = elementsIn(name).flatMap(({ content }) => elementsIn(content));
  const values = attributes.map(({ content }) => elementsIn(content));
  return values.find(([oid]) => oid?.content.toString('hex') === '550403')?.[1]?.content.toString('utf8') ?? '';
}

/** UTCTime, which lasts until 2049, or GeneralizedTime. */
function timeOf(text: Buffer): number {
  const digits = text.toString('latin1');
  const full = digits.length === 13 ? `20${digits}` : digits;
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(full)?.map(Number) ?? [];
  return Date.UTC(year ?? 0, (month ?? 1) - 1, day, hour, minute, second);
}
