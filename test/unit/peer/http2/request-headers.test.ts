import { describe, expect, it } from 'vitest';
import { isLegalAuthority, RequestHeaders } from '../../../../agent/peer/http2/request-headers.ts';
import { HpackEncoder, integerOf, stringOf, type WrittenField } from '../../../support/hpack-encoder.ts';
import { CONTINUATION, END_HEADERS, END_STREAM, frameOf, HEADERS } from '../../../support/http2-client.ts';

const LOCALHOST = Buffer.concat([Buffer.from([1, 9]), Buffer.from('localhost')]);
const METHOD = Buffer.from([0x83]);
const HOW = { as: 'incremental', nameByIndex: true, huffman: false } as const;

function authority(value: string, how: Partial<WrittenField> = {}): WrittenField {
  return { name: ':authority', value, ...HOW, ...how };
}

function field(name: string, value: string, how: Partial<WrittenField> = {}): WrittenField {
  return { name, value, ...HOW, ...how };
}

describe('a request', () => {
  it.each(['incremental', 'plain', 'never'] as const)('stays as it is with a legal authority written %s', (as) => {
    for (const huffman of [false, true]) {
      for (const nameByIndex of [false, true]) {
        const encoder = new HpackEncoder();
        const headers = new RequestHeaders();
        const block = encoder.block([authority('tmp%2Fx.sock', { as, huffman, nameByIndex }), field('te', 'trailers')]);
        expect(headers.rewriteBlock(block, true)).toBeUndefined();
        const again = encoder.block([authority('tmp%2Fx.sock', { as: 'indexed' })]);
        expect(headers.rewriteBlock(again, true)).toBeUndefined();
      }
    }
  });

  it.each(['', '/tmp/x.sock', 'outbound|80||x', 'user@h', 'é', '#', '\0'])('gets localhost for %j', (value) => {
    for (const as of ['incremental', 'plain', 'never'] as const) {
      for (const huffman of [false, true]) {
        for (const nameByIndex of [false, true]) {
          const bad = new HpackEncoder().block([authority(value, { as, huffman, nameByIndex })]);
          const rewritten = new RequestHeaders().rewriteBlock(Buffer.concat([METHOD, bad, METHOD]), true);
          expect(rewritten).toEqual(Buffer.concat([METHOD, LOCALHOST, METHOD]));
        }
      }
    }
  });

  it('gets localhost for the empty authority of the static table', () => {
    expect(new RequestHeaders().rewriteBlock(Buffer.from([0x81, 0x83]), true)).toEqual(
      Buffer.concat([LOCALHOST, METHOD]),
    );
  });

  it('gets localhost for none, behind changes of the table and before all fields', () => {
    const rewritten = new RequestHeaders().rewriteBlock(Buffer.from([0x20, 0x3f, 0xe1, 0x1f, 0x83]), true);
    expect(rewritten).toEqual(Buffer.concat([Buffer.from([0x20, 0x3f, 0xe1, 0x1f]), LOCALHOST, METHOD]));
  });

  it('lets a legal host stand for the authority, by literal and by index, and no other', () => {
    const encoder = new HpackEncoder();
    const headers = new RequestHeaders();
    expect(headers.rewriteBlock(encoder.block([field('host', 'h', { huffman: true, nameByIndex: false })]), true)).toBe(
      undefined,
    );
    expect(headers.rewriteBlock(encoder.block([field('host', 'h', { as: 'indexed' })]), true)).toBe(undefined);
    for (const value of ['', '/x']) {
      for (const as of ['incremental', 'indexed'] as const) {
        const block = encoder.block([field('host', value, { as })]);
        expect(headers.rewriteBlock(block, true)).toEqual(Buffer.concat([LOCALHOST, block]));
      }
    }
  });

  it('remains refused when it has two authorities', () => {
    const legal = Buffer.concat([Buffer.from([1]), stringOf('h', false)]);
    const bad = Buffer.concat([Buffer.from([1]), stringOf('/', false)]);
    const rewrite = (...parts: Buffer[]) => new RequestHeaders().rewriteBlock(Buffer.concat(parts), true);
    expect(rewrite(bad, legal)).toEqual(Buffer.concat([LOCALHOST, legal]));
    expect(rewrite(legal, bad)).toEqual(Buffer.concat([legal, Buffer.from([0x81])]));
    expect(rewrite(bad, bad, bad)).toEqual(Buffer.concat([LOCALHOST, Buffer.from([0x81, 0x81])]));
  });

  it('withholds a refused authority from the table, and shifts what is older', () => {
    const encoder = new HpackEncoder();
    const headers = new RequestHeaders();
    const older = [field('a', '1'), field('b', '2')];
    const newer = [field('c', '3')];
    headers.rewriteBlock(encoder.block([...older, authority('/x'), ...newer]), true);
    const indexed = [...older, authority('/x'), ...newer].map((each) => ({ ...each, as: 'indexed' as const }));
    expect(encoder.block(indexed)).toEqual(Buffer.from([0xc1, 0xc0, 0xbf, 0xbe]));
    expect(headers.rewriteBlock(Buffer.from([0xc1, 0xc0, 0xbf, 0xbe]), true)).toEqual(
      Buffer.concat([Buffer.from([0xc0, 0xbf]), LOCALHOST, Buffer.from([0xbe])]),
    );
  });

  it('names an authority by the static table where the client names it by a withheld field', () => {
    const headers = new RequestHeaders();
    headers.rewriteBlock(new HpackEncoder().block([authority('/x')]), true);
    const byDynamicName = (pattern: number, bits: number) =>
      Buffer.concat([integerOf(pattern, bits, 62), stringOf('h', false)]);
    for (const [pattern, bits, head] of [
      [0x00, 4, 0x01],
      [0x10, 4, 0x11],
      [0x40, 6, 0x41],
    ] as const) {
      expect(headers.rewriteBlock(byDynamicName(pattern, bits), true)).toEqual(
        Buffer.concat([Buffer.from([head]), stringOf('h', false)]),
      );
    }
  });
});

describe('trailers', () => {
  it('get no authority, and are kept in step with the table', () => {
    const encoder = new HpackEncoder();
    const headers = new RequestHeaders();
    const rewrite = (frames: Buffer) => headers.rewriteFrames(frames, 0, frames.length);
    rewrite(frameOf(HEADERS, END_HEADERS, 5, encoder.block([field('a', '1'), authority('/x')])));
    for (const stream of [5, 3, 4, 0]) {
      expect(rewrite(frameOf(HEADERS, END_HEADERS | END_STREAM, stream, Buffer.from([0xbf])))).toEqual(
        frameOf(HEADERS, END_HEADERS | END_STREAM, stream, Buffer.from([0xbe])),
      );
      expect(rewrite(frameOf(HEADERS, END_HEADERS, stream, Buffer.from([0x83])))).toBeUndefined();
    }
    expect(rewrite(frameOf(HEADERS, END_HEADERS, 7, METHOD))).toEqual(
      frameOf(HEADERS, END_HEADERS, 7, Buffer.concat([LOCALHOST, METHOD])),
    );
  });
});

describe('frames', () => {
  it('come out as one where nothing else is needed', () => {
    const bytes = Buffer.concat([
      frameOf(HEADERS, END_STREAM, 1, METHOD),
      frameOf(CONTINUATION, END_HEADERS, 1, METHOD),
    ]);
    expect(new RequestHeaders().rewriteFrames(bytes, 0, bytes.length)).toEqual(
      frameOf(HEADERS, END_HEADERS | END_STREAM, 1, Buffer.concat([LOCALHOST, METHOD, METHOD])),
    );
  });
});

describe('what cannot be read', () => {
  it.each([
    ['index 0', '80'],
    ['an index that is in no table', 'be'],
    ['a name that is in no table', '7e0168'],
    ['a change of the table after a field', '8320'],
    ['a table that is too large', '3fe21f'],
    ['a literal that is cut off', '410568'],
    ['a literal without a value', '41'],
    ['an authority that ends in wrong padding', '418118'],
    ['an integer without an end', 'ffffffffffffffffffff'],
  ])('is refused: %s', (_name, hex) => {
    const block = Buffer.from(hex, 'hex');
    expect(() => new RequestHeaders().rewriteBlock(block, true)).toThrowError(
      expect.objectContaining({ name: 'MayflyError', code: 'INVALID_REQUEST' }),
    );
  });
});

describe('the legal bytes', () => {
  it('need at least one', () => {
    expect(isLegalAuthority(Buffer.alloc(0))).toBe(false);
    expect(isLegalAuthority(Buffer.from('[::1]:80'))).toBe(true);
  });
});
