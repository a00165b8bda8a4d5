import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeInteger, FieldTable, fieldName, HpackReader } from '../../../../agent/peer/http2/hpack.ts';
import { decodeHuffman, maxDecodedLength } from '../../../../agent/peer/http2/huffman.ts';
import { huffmanOf, integerOf, stringOf } from '../../../support/hpack-encoder.ts';

const REFUSED = expect.objectContaining({ name: 'MayflyError', code: 'INVALID_REQUEST' });

function read(hex: string): HpackReader {
  return new HpackReader(Buffer.from(hex, 'hex'));
}

describe('integers', () => {
  it.each([
    ['0a', 5, 10],
    ['1f9a0a', 5, 1337],
    ['2a', 8, 42],
    // Longer than it must be, which RFC 7541 does not forbid.
    ['1f9a8a00', 5, 1337],
    ['7fffffffff0f', 7, 2 ** 32 - 1 + 127],
  ])('reads %s with a prefix of %i bits as %i', (hex, bits, value) => {
    const reader = read(hex);
    expect(reader.integer(bits)).toBe(value);
    expect(reader.done).toBe(true);
  });

  it.each(['1f', '1f80', '1f80808080', '1f808080808000', '1fffffffffffffffffff7f'])('refuses %s', (hex) => {
    expect(() => read(hex).integer(5)).toThrowError(REFUSED);
  });

  it('writes what it reads', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 31 - 1), fc.integer({ min: 1, max: 8 }), (value, bits) => {
        const bytes = encodeInteger(0, bits, value);
        expect(bytes).toEqual(integerOf(0, bits, value));
        expect(new HpackReader(bytes).integer(bits)).toBe(value);
      }),
    );
    expect(encodeInteger(0x40, 6, 63)).toEqual(Buffer.from([0x7f, 0]));
    expect(encodeInteger(0x10, 4, 189)).toEqual(Buffer.from([0x1f, 0xae, 1]));
  });
});

describe('strings', () => {
  it('reads what RFC 7541, appendix C.4, codes', () => {
    expect(read('8cf1e3c2e5f23a6ba0ab90f4ff').string().toString()).toBe('www.example.com');
  });

  it('reads both codes of every text, and stops where it ends', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), fc.boolean(), (text, huffman) => {
        const literal = stringOf(Buffer.from(text).toString('latin1'), huffman);
        const reader = new HpackReader(Buffer.concat([literal, Buffer.from('rest')]));
        expect(reader.string()).toEqual(Buffer.from(text));
        expect(reader.at).toBe(literal.length);
        const skipping = new HpackReader(literal);
        skipping.skipString();
        expect(skipping.done).toBe(true);
      }),
    );
  });

  it.each([
    ['a length that is cut off', 'ff'],
    ['a text that is cut off', '036161'],
    ['a length of 4 GiB', 'ffffffffff0f'],
  ])('refuses %s', (_name, hex) => {
    expect(() => read(hex).string()).toThrowError(REFUSED);
    expect(() => read(hex).skipString()).toThrowError(REFUSED);
  });
});

describe('Huffman', () => {
  function decode(code: Buffer): Buffer {
    const into = Buffer.alloc(maxDecodedLength(code.length));
    return into.subarray(0, decodeHuffman(code, 0, code.length, into));
  }

  it('decodes each of the 256 symbols', () => {
    for (let symbol = 0; symbol < 256; symbol += 1) {
      expect(decode(huffmanOf([symbol] as unknown as Uint8Array))).toEqual(Buffer.from([symbol]));
    }
  });

  it.each([
    ['padding of eight bits', 'ff'],
    ['padding of a whole byte after a symbol', '1fff'],
    ['padding with a zero', '1e'],
    ['padding with zeros', '18'],
    ['EOS', 'ffffffff'],
    ['EOS before a symbol', 'fffffffc7f'],
  ])('refuses %s', (_name, hex) => {
    expect(() => decode(Buffer.from(hex, 'hex'))).toThrowError(REFUSED);
  });

  it('either refuses bytes or decodes them into what codes to the same bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), (bytes) => {
        let text: Buffer;
        try {
          text = decode(Buffer.from(bytes));
        } catch {
          return;
        }
        expect(huffmanOf(text)).toEqual(Buffer.from(bytes));
      }),
      { numRuns: 1000 },
    );
  });
});

describe('the table', () => {
  const field = { name: 'other', nameLength: 10, legal: false } as const;
  const authority = { name: 'authority', nameLength: 10, legal: false } as const;

  it('knows the static names', () => {
    const table = new FieldTable();
    expect(table.field(1)).toEqual(authority);
    expect(table.field(38)).toEqual({ name: 'host', nameLength: 4, legal: false });
    expect(table.field(61)).toEqual({ name: 'other', nameLength: 16, legal: false });
    expect(table.receiverIndex(61)).toBe(61);
    expect(fieldName(Buffer.from('Host'))).toBe('other');
  });

  it.each([0, 62, 2 ** 32])('refuses index %i when it is empty', (index) => {
    expect(() => new FieldTable().field(index)).toThrowError(REFUSED);
  });

  it('holds what fits, the newest first', () => {
    const table = new FieldTable();
    for (let added = 0; added < 200; added += 1) table.insert({ ...field, nameLength: added }, 0, false);
    // Of 4096 bytes: names of 199, 198, … and 32 for each.
    let held = 0;
    for (let size = 0; size + 32 + 199 - held <= 4096; held += 1) size += 32 + 199 - held;
    expect(table.field(62).nameLength).toBe(199);
    expect(table.field(61 + held).nameLength).toBe(200 - held);
    expect(() => table.field(62 + held)).toThrowError(REFUSED);
  });

  it('is emptied by a field that does not fit', () => {
    const table = new FieldTable();
    table.insert(field, 0, false);
    table.insert(field, 4096 - 42, false);
    expect(table.field(62).name).toBe('other');
    table.insert(field, 4097 - 42, false);
    expect(() => table.field(62)).toThrowError(REFUSED);
  });

  it('shrinks and grows', () => {
    const table = new FieldTable();
    for (let added = 0; added < 3; added += 1) table.insert(field, added, false);
    table.resize(42 + 43 + 44 - 1);
    expect(table.field(63)).toMatchObject(field);
    expect(() => table.field(64)).toThrowError(REFUSED);
    table.resize(0);
    expect(() => table.field(62)).toThrowError(REFUSED);
    table.resize(4096);
    expect(() => table.resize(4097)).toThrowError(REFUSED);
  });

  it('shifts the index of what is older than a withheld field, and of nothing else', () => {
    const table = new FieldTable();
    table.insert(field, 0, false);
    table.insert(authority, 0, true);
    table.insert(field, 0, false);
    table.insert(authority, 1, true);
    table.insert(field, 0, false);
    expect([62, 64, 66].map((index) => table.receiverIndex(index))).toEqual([62, 63, 64]);
  });
});
