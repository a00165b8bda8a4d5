/** One header field, and how it is to be written. */
export interface WrittenField {
  readonly name: string;
  /** One character a byte. */
  readonly value: string;
  /** `indexed` falls back to `incremental` when no table has the field. */
  readonly as: 'indexed' | 'incremental' | 'plain' | 'never';
  /** Refer to the name by its index when there is one; else it is written out. */
  readonly nameByIndex: boolean;
  readonly huffman: boolean;
}

// The code lengths of RFC 7541, appendix B, by symbol; 256 is EOS.
const LENGTHS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
  28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6,
  5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23,
  22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22,
  23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26,
  20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27,
  27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27,
  27, 27, 27, 26, 30,
];

const codes = new Map<number, string>();
let code = 0n;
for (let length = 1, previous = 0; length <= 30; previous = length, length += 1) {
  code <<= BigInt(length - previous);
  LENGTHS.forEach((ofSymbol, symbol) => {
    if (ofSymbol !== length) return;
    codes.set(symbol, code.toString(2).padStart(length, '0'));
    code += 1n;
  });
}

/** The Huffman code of `bytes`, padded with ones. */
export function huffmanOf(bytes: Uint8Array): Buffer {
  let bits = '';
  for (const byte of bytes) bits += codes.get(byte) ?? '';
  bits = bits.padEnd(Math.ceil(bits.length / 8) * 8, '1');
  return Buffer.from(bits.match(/.{8}/g)?.map((byte) => Number.parseInt(byte, 2)) ?? []);
}

/** An integer with a prefix of `bits` beside `pattern`. */
export function integerOf(pattern: number, bits: number, value: number): Buffer {
  const max = 2 ** bits - 1;
  if (value < max) return Buffer.from([pattern | value]);
  const bytes = [pattern | max];
  let rest = value - max;
  while (rest >= 128) {
    bytes.push(128 | (rest % 128));
    rest = Math.floor(rest / 128);
  }
  return Buffer.from([...bytes, rest]);
}

/** A string literal. */
export function stringOf(text: string, huffman: boolean): Buffer {
  const raw = Buffer.from(text, 'latin1');
  const bytes = huffman ? huffmanOf(raw) : raw;
  return Buffer.concat([integerOf(huffman ? 0x80 : 0, 7, bytes.length), bytes]);
}

// What the tests use of the static table.
const STATIC: readonly (readonly [number, string, string])[] = [
  [1, ':authority', ''],
  [2, ':method', 'GET'],
  [3, ':method', 'POST'],
  [4, ':path', '/'],
  [6, ':scheme', 'http'],
  [31, 'content-type', ''],
  [38, 'host', ''],
  [58, 'user-agent', ''],
];

/** Writes header blocks as a client with a dynamic table of its own; every representation can be asked for. */
export class HpackEncoder {
  /** Newest first. */
  #table: { name: string; value: string }[] = [];
  #maxSize = 4096;

  /** A change of the table's size, which stands at the beginning of a block. */
  sizeUpdate(size: number): Buffer {
    this.#maxSize = size;
    this.#evict(0);
    return integerOf(0x20, 5, size);
  }

  block(fields: readonly WrittenField[]): Buffer {
    return Buffer.concat(fields.map((field) => this.#field(field)));
  }

  #field({ name, value, as, nameByIndex, huffman }: WrittenField): Buffer {
    const whole = this.#indexOf((field) => field.name === name && field.value === value);
    if (as === 'indexed' && whole > 0) return integerOf(0x80, 7, whole);
    const named = nameByIndex ? this.#indexOf((field) => field.name === name) : 0;
    const incremental = as === 'indexed' || as === 'incremental';
    const head = incremental ? integerOf(0x40, 6, named) : integerOf(as === 'never' ? 0x10 : 0, 4, named);
    if (incremental) this.#insert(name, value);
    return Buffer.concat([head, named > 0 ? Buffer.alloc(0) : stringOf(name, huffman), stringOf(value, huffman)]);
  }

  #indexOf(matches: (field: { name: string; value: string }) => boolean): number {
    // The dynamic table first: it is the one that goes wrong.
    const dynamic = this.#table.findIndex(matches);
    if (dynamic >= 0) return 62 + dynamic;
    return STATIC.find(([, name, value]) => matches({ name, value }))?.[0] ?? 0;
  }

  #insert(name: string, value: string): void {
    const size = 32 + name.length + value.length;
    this.#evict(size);
    if (size <= this.#maxSize) this.#table.unshift({ name, value });
  }

  #evict(room: number): void {
    const size = () => this.#table.reduce((sum, field) => sum + 32 + field.name.length + field.value.length, 0);
    while (this.#table.length > 0 && size() > this.#maxSize - room) this.#table.pop();
  }
}
