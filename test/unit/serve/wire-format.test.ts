import { create, toBinary } from '@bufbuild/protobuf';
import { BytesValueSchema, FieldMaskSchema } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { bytesPart, field, joined } from '../../../agent/serve/wire-format.ts';

describe('a field written by hand', () => {
  // On both sides of where a length takes one byte more.
  it.each([0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])(
    'with %i bytes is what an encoder writes',
    (length) => {
      const value = Buffer.alloc(length, 0xa5);
      const encoded = toBinary(BytesValueSchema, create(BytesValueSchema, { value }));
      const written = joined(field(1, bytesPart(value)));
      // The encoder leaves out what is empty.
      expect(written.equals(length === 0 ? Buffer.from([0x0a, 0]) : Buffer.from(encoded))).toBe(true);
    },
  );

  it('has its content one behind the other, and may be in another', () => {
    const inner = field(1, bytesPart(Buffer.from('a')), bytesPart(Buffer.from('bc')));
    expect(joined(field(20, inner))).toEqual(Buffer.from('a201050a03616263', 'hex'));
  });

  it('is joined to others as fields of one message', () => {
    const paths = ['a', 'bc'];
    const written = joined(...paths.map((path) => field(1, bytesPart(Buffer.from(path)))));
    expect(written).toEqual(Buffer.from(toBinary(FieldMaskSchema, create(FieldMaskSchema, { paths }))));
  });
});
