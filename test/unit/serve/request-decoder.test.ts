import * as fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { RequestDecoder } from '../../../agent/serve/request-decoder.ts';
import type { CallStatus } from '../../../agent/serve/status.ts';

const MOST = 1000;
const refused: CallStatus[] = [];

function decoder(): RequestDecoder {
  refused.length = 0;
  return new RequestDecoder(MOST, (told) => refused.push(told));
}

/** As gRPC frames it. */
function framed(content: Uint8Array, flag = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(content.length, 1);
  return Buffer.concat([prefix, content]);
}

test('messages are what was sent, whatever the pieces in which they come', () => {
  const contents = fc.array(fc.uint8Array({ maxLength: MOST }), { maxLength: 8 });
  fc.assert(
    fc.property(contents, fc.array(fc.integer({ min: 1, max: 300 })), (sent, sizes) => {
      const messages = sent.map((content) => framed(content));
      const bytes = Buffer.concat(messages);
      const read = decoder();
      const found: Buffer[] = [];
      let at = 0;
      for (const size of [...sizes, bytes.length]) {
        found.push(...read.write(bytes.subarray(at, at + size)));
        at += size;
      }
      expect(found).toEqual(messages);
      expect(refused).toEqual([]);
    }),
  );
});

test('a message is a copy: whoever keeps it keeps no more than that', () => {
  const piece = framed(Buffer.from('one'));
  const [message] = decoder().write(piece);
  piece.fill(0);
  expect(message?.subarray(5).toString()).toBe('one');
});

describe('a call is ended', () => {
  it('by a message over the limit, as soon as its length is there', () => {
    const read = decoder();
    const large = framed(Buffer.alloc(MOST + 1));
    expect(read.write(framed(Buffer.alloc(MOST)))).toHaveLength(1);
    expect(read.write(large.subarray(0, 4))).toEqual([]);
    expect(refused).toEqual([]);
    expect(read.write(large.subarray(4, 5))).toEqual([]);
    expect(refused).toEqual([{ code: 8, details: 'Received message larger than max (1001 vs 1000)' }]);
  });

  it('by a compressed message, which is never unpacked', () => {
    expect(decoder().write(framed(Buffer.from('1f8b', 'hex'), 1))).toEqual([]);
    expect(refused).toEqual([{ code: 12, details: 'compressed requests are not taken' }]);
  });

  it('by more messages at once than anybody sends who means well', () => {
    const empty = framed(Buffer.alloc(0));
    expect(decoder().write(Buffer.concat(Array(256).fill(empty)))).toHaveLength(256);
    expect(refused).toEqual([]);
    expect(decoder().write(Buffer.concat(Array(257).fill(empty)))).toEqual([]);
    expect(refused).toEqual([{ code: 8, details: 'too many messages at once' }]);
  });

  it('once, and takes nothing more', () => {
    const read = decoder();
    const compressed = framed(Buffer.alloc(1), 1);
    expect(read.write(compressed)).toEqual([]);
    expect(read.write(Buffer.concat([framed(Buffer.alloc(1)), compressed]))).toEqual([]);
    expect(refused).toHaveLength(1);
  });
});
