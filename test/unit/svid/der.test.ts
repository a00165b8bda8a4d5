import { describe, expect, test } from 'vitest';
import { element, enumerated, integer, namedBits, oid, sequence, smallInteger, time } from '../../../agent/svid/der.ts';

const hex = (bytes: Buffer) => bytes.toString('hex');

describe('lengths', () => {
  test.each([
    [0, '3000'],
    [0x7f, '307f'],
    [0x80, '308180'],
    [0xff, '3081ff'],
    [0x100, '30820100'],
    [0xffff, '3082ffff'],
    [0x1_0000, '3083010000'],
    [0x100_0000, '308401000000'],
  ])('%i bytes of content take the header %s', (length, header) => {
    const bytes = sequence(Buffer.alloc(length));
    expect(hex(bytes.subarray(0, header.length / 2))).toBe(header);
    expect(bytes).toHaveLength(header.length / 2 + length);
  });

  test('parts are joined in order', () => {
    expect(hex(element(0x04, Buffer.from([1]), Buffer.alloc(0), Buffer.from([2, 3])))).toBe('0403010203');
  });
});

describe('numbers', () => {
  test.each([
    ['00', '020100'],
    ['7f', '02017f'],
    ['80', '02020080'],
    ['0001', '020101'],
    ['000080', '02020080'],
    ['ff00', '020300ff00'],
    ['', '020100'],
  ])('the magnitude %s is written %s: positive, in the fewest octets', (magnitude, written) => {
    expect(hex(integer(Buffer.from(magnitude, 'hex')))).toBe(written);
  });

  test.each([
    [0, '020100'],
    [2, '020102'],
    [128, '02020080'],
    [Number.MAX_SAFE_INTEGER, '02071fffffffffffff'],
  ])('%i is written %s', (value, written) => {
    expect(hex(smallInteger(value))).toBe(written);
  });

  test('an ENUMERATED has a tag of its own', () => {
    expect(hex(enumerated(5))).toBe('0a0105');
  });
});

test.each([
  [[0], '03020780'],
  [[0, 2], '030205a0'],
  [[5, 6], '03020106'],
  [[8], '0303070080'],
] as const)('the named bits %j are written %s, without trailing zero bits', (bits, written) => {
  expect(hex(namedBits(...(bits as unknown as [number])))).toBe(written);
});

test.each([
  ['2.5.29.17', '0603551d11'],
  ['1.2.840.10045.4.3.2', '06082a8648ce3d040302'],
  ['2.16.840.1.101.3.4.2.1', '0609608648016503040201'],
])('the object identifier %s is written %s', (dotted, written) => {
  expect(hex(oid(dotted))).toBe(written);
});

describe('times', () => {
  test.each([
    ['2026-01-02T03:04:05.999Z', 0x17, '260102030405Z'],
    ['2049-12-31T23:59:59.999Z', 0x17, '491231235959Z'],
    ['2050-01-01T00:00:00.000Z', 0x18, '20500101000000Z'],
    ['2126-11-09T10:00:00.000Z', 0x18, '21261109100000Z'],
  ])('%s', (iso, tag, digits) => {
    const bytes = time(Date.parse(iso));
    expect(bytes[0]).toBe(tag);
    expect(bytes.toString('latin1', 2)).toBe(digits);
  });
});
