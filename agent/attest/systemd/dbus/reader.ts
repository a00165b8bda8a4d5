import { isUtf8 } from 'node:buffer';
import { type BasicCode, DEEPEST, MalformedMessage, type Type, typesOf, type Value } from './values.ts';

/**
 * Reads values out of a message. Whoever sends is not trusted: nothing is read or allocated beyond the bytes that are there, and what
 * is not as the specification has it is refused.
 */
export class Reader {
  readonly #bytes: Buffer;
  readonly #little: boolean;
  #at: number;

  /** @param at where to begin; values are aligned from the first byte of `bytes` on */
  constructor(bytes: Buffer, little: boolean, at = 0) {
    this.#bytes = bytes;
    this.#little = little;
    this.#at = at;
  }

  get at(): number {
    return this.#at;
  }

  /** @throws MalformedMessage */
  values(types: readonly Type[]): Value[] {
    return types.map((type) => this.#value(type, 0));
  }

  /** Skips what fills up to a multiple of `size`, which has to be zeros. */
  align(size: number): void {
    while (this.#at % size !== 0) {
      if (this.#bytes[this.#take(1)] !== 0) throw new MalformedMessage('what fills up is not zero');
    }
  }

  #value(type: Type, depth: number): Value {
    if (depth > DEEPEST) throw new MalformedMessage('a value is nested too deeply');
    switch (type.kind) {
      case 'basic':
        return this.#basic(type.code);
      case 'variant':
        return this.#variant(depth);
      case 'array':
        return this.#array(type.of, depth);
      case 'dictionary':
        return this.#dictionary(type.key, type.value, depth);
      case 'structure':
        this.align(8);
        return type.of.map((each) => this.#value(each, depth + 1));
    }
  }

  #basic(code: BasicCode): Value {
    switch (code) {
      case 'y':
        return this.#bytes.readUInt8(this.#take(1));
      case 'b':
        return this.#boolean();
      case 'n':
        return this.#little ? this.#bytes.readInt16LE(this.#number(2)) : this.#bytes.readInt16BE(this.#number(2));
      case 'q':
        return this.#little ? this.#bytes.readUInt16LE(this.#number(2)) : this.#bytes.readUInt16BE(this.#number(2));
      case 'i':
        return this.#little ? this.#bytes.readInt32LE(this.#number(4)) : this.#bytes.readInt32BE(this.#number(4));
      case 'u':
      case 'h':
        return this.#uint32();
      case 'x':
        return this.#little ? this.#bytes.readBigInt64LE(this.#number(8)) : this.#bytes.readBigInt64BE(this.#number(8));
      case 't':
        return this.#little
          ? this.#bytes.readBigUInt64LE(this.#number(8))
          : this.#bytes.readBigUInt64BE(this.#number(8));
      case 'd':
        return this.#little ? this.#bytes.readDoubleLE(this.#number(8)) : this.#bytes.readDoubleBE(this.#number(8));
      case 's':
      case 'o':
        return this.#text(this.#uint32());
      case 'g':
        return this.#text(this.#bytes.readUInt8(this.#take(1)));
    }
  }

  #variant(depth: number): Value {
    const [type, ...more] = typesOf(this.#text(this.#bytes.readUInt8(this.#take(1))));
    if (type === undefined || more.length > 0) throw new MalformedMessage('a variant holds not one value');
    return this.#value(type, depth + 1);
  }

  #array(of: Type, depth: number): Value {
    if (of.kind === 'basic' && of.code === 'y') {
      const size = this.#uint32();
      const start = this.#take(size);
      return Buffer.from(this.#bytes.subarray(start, start + size));
    }
    const values: Value[] = [];
    this.#elements(of, () => values.push(this.#value(of, depth + 1)));
    return values;
  }

  #dictionary(key: BasicCode, value: Type, depth: number): Value {
    const map = new Map<Value, Value>();
    this.#elements({ kind: 'structure', of: [] }, () => {
      this.align(8);
      const name = this.#basic(key);
      map.set(name, this.#value(value, depth + 1));
    });
    return map;
  }

  /** Every element takes at least a byte, since no structure is empty: this ends. */
  #elements(of: Type, read: () => void): void {
    const size = this.#uint32();
    this.align(alignmentOf(of));
    const end = this.#at + size;
    if (end > this.#bytes.length) throw new MalformedMessage('an array is longer than its message');
    while (this.#at < end) read();
    if (this.#at !== end) throw new MalformedMessage('an array ends within an element');
  }

  #boolean(): boolean {
    const value = this.#uint32();
    if (value > 1) throw new MalformedMessage('a boolean is neither 0 nor 1');
    return value === 1;
  }

  #uint32(): number {
    const at = this.#number(4);
    return this.#little ? this.#bytes.readUInt32LE(at) : this.#bytes.readUInt32BE(at);
  }

  #text(size: number): string {
    const start = this.#take(size + 1);
    const text = this.#bytes.subarray(start, start + size);
    if (this.#bytes[start + size] !== 0 || text.includes(0) || !isUtf8(text)) {
      throw new MalformedMessage('a text does not end with its only NUL, or is no UTF-8');
    }
    return text.toString('utf8');
  }

  #number(size: number): number {
    this.align(size);
    return this.#take(size);
  }

  /** Where the next `size` bytes are. */
  #take(size: number): number {
    const start = this.#at;
    if (start + size > this.#bytes.length) throw new MalformedMessage('a value goes beyond its message');
    this.#at += size;
    return start;
  }
}

function alignmentOf(type: Type): number {
  switch (type.kind) {
    case 'variant':
      return 1;
    case 'array':
    case 'dictionary':
      return 4;
    case 'structure':
      return 8;
    case 'basic':
      return ALIGNMENTS[type.code];
  }
}

const ALIGNMENTS: Readonly<Record<BasicCode, number>> = {
  y: 1,
  b: 4,
  n: 2,
  q: 2,
  i: 4,
  u: 4,
  x: 8,
  t: 8,
  d: 8,
  s: 4,
  o: 4,
  g: 1,
  h: 4,
};
