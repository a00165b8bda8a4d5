/** One DER element. The content is a view of the bytes that were read, never a copy: it may be a secret. */
export interface DerElement {
  readonly tag: number;
  readonly content: Buffer;
}

/**
 * The elements that a content consists of, in their order.
 *
 * @throws Error when it is no DER
 */
export function elementsIn(content: Buffer): readonly DerElement[] {
  const elements: DerElement[] = [];
  for (let at = 0; at < content.length; ) {
    const tag = content[at] ?? 0;
    const first = content[at + 1] ?? 0;
    const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
    const start = at + 2 + lengthBytes;
    if (lengthBytes > 4 || start > content.length) throw notDer();
    const length = lengthBytes === 0 ? first : content.readUIntBE(at + 2, lengthBytes);
    at = start + length;
    if (at > content.length) throw notDer();
    elements.push({ tag, content: content.subarray(start, at) });
  }
  return elements;
}

function notDer(): Error {
  return new Error('an element is longer than what it stands in');
}
