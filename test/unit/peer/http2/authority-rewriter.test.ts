import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AuthorityRewriter } from '../../../../agent/peer/http2/authority-rewriter.ts';
import { HpackEncoder } from '../../../support/hpack-encoder.ts';
import {
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  frameOf,
  HEADERS,
  PADDED,
  PING,
  PREFACE,
  PRIORITY,
  requestFields,
  SETTINGS_ACK,
  SETTINGS_FRAME,
} from '../../../support/http2-client.ts';

const PING_FRAME = frameOf(PING, 0, 0, Buffer.alloc(8));
const REFUSAL = frameOf(HEADERS, END_HEADERS | END_STREAM, 0x7fff_ffff, Buffer.from([0x80]));

function block(authority: string | undefined): Buffer {
  return new HpackEncoder().block(requestFields('/x', authority, { as: 'plain', nameByIndex: true, huffman: false }));
}

function rewrite(chunks: readonly Buffer[], { limit = 16_384, ackPending = false } = {}): Buffer {
  const rewriter = new AuthorityRewriter(limit, ackPending);
  const out = Buffer.concat([Buffer.alloc(0), ...chunks].flatMap((chunk) => [...rewriter.push(chunk)]));
  expect(out.subarray(0, PREFACE.length)).toEqual(PREFACE);
  return out.subarray(PREFACE.length);
}

describe('what a client sends', () => {
  const good = [
    SETTINGS_FRAME,
    frameOf(HEADERS, END_HEADERS, 1, block('localhost')),
    frameOf(DATA, 0, 1, Buffer.alloc(5000)),
    PING_FRAME,
    SETTINGS_ACK,
  ];

  it('goes on as it is when it is good, in one piece and uncopied', () => {
    const chunk = Buffer.concat(good);
    const rewriter = new AuthorityRewriter(16_384, false);
    expect(rewriter.push(Buffer.alloc(0))).toEqual([PREFACE]);
    const out = rewriter.push(chunk);
    expect(out).toHaveLength(1);
    expect(out[0]).toEqual(chunk);
    expect(out[0]?.buffer).toBe(chunk.buffer);
  });

  it('loses the first acknowledgement of SETTINGS when that is pending, and no other', () => {
    const out = rewrite([SETTINGS_FRAME, PING_FRAME, SETTINGS_ACK, SETTINGS_ACK, PING_FRAME], { ackPending: true });
    expect(out).toEqual(Buffer.concat([SETTINGS_FRAME, PING_FRAME, SETTINGS_ACK, PING_FRAME]));
  });

  it('keeps priority and the end of the stream, and loses padding and fragments, where a block is rewritten', () => {
    const priority = Buffer.from([0x80, 0, 0, 0, 15]);
    const half = block(undefined);
    const padded = Buffer.concat([Buffer.from([2]), priority, half.subarray(0, 4), Buffer.alloc(2)]);
    const out = rewrite([
      frameOf(HEADERS, PADDED | PRIORITY | END_STREAM, 1, padded),
      frameOf(CONTINUATION, END_HEADERS, 1, half.subarray(4)),
    ]);
    const localhost = Buffer.concat([Buffer.from([1, 9]), Buffer.from('localhost')]);
    expect(out).toEqual(
      frameOf(HEADERS, END_HEADERS | PRIORITY | END_STREAM, 1, Buffer.concat([priority, localhost, half])),
    );
  });

  it('comes out the same however it is cut', () => {
    const bytes = Buffer.concat([
      ...good,
      frameOf(HEADERS, END_HEADERS, 3, block('/tmp/x.sock')),
      frameOf(DATA, END_STREAM, 3, Buffer.alloc(300)),
      frameOf(HEADERS, 0, 5, block(undefined)),
      frameOf(CONTINUATION, END_HEADERS, 5),
      PING_FRAME,
    ]);
    const whole = rewrite([bytes], { ackPending: true });
    expect(
      rewrite(
        Array.from(bytes, (byte) => Buffer.from([byte])),
        { ackPending: true },
      ),
    ).toEqual(whole);
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length), { maxLength: 10 }), (cuts) => {
        const places = [0, ...cuts.sort((a, b) => a - b), bytes.length];
        const pieces = places.slice(1).map((end, index) => bytes.subarray(places[index], end));
        expect(rewrite(pieces, { ackPending: true })).toEqual(whole);
      }),
    );
  });
});

describe('what has no meaning', () => {
  it.each([
    ['a header block that cannot be read', frameOf(HEADERS, END_HEADERS, 1, Buffer.from([0xff]))],
    ['padding that does not fit', frameOf(HEADERS, END_HEADERS | PADDED, 1, Buffer.from([9]))],
    ['an interrupted header block', Buffer.concat([frameOf(HEADERS, 0, 1), PING_FRAME])],
    ['a frame that is too large', frameOf(DATA, 0, 1, Buffer.alloc(16_385))],
    ['a header block over the limit', frameOf(HEADERS, END_HEADERS, 1, Buffer.alloc(92))],
  ])('becomes a decoding error for nghttp2, after what came before and with nothing after it: %s', (_name, bytes) => {
    const out = rewrite([Buffer.concat([PING_FRAME, bytes]), PING_FRAME], { limit: 100 });
    expect(out).toEqual(Buffer.concat([PING_FRAME, REFUSAL]));
  });

  it('never makes more of random bytes than they were, and never throws', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 10 }), (chunks) => {
        const bytes = chunks.map((chunk) => Buffer.from(chunk));
        expect(rewrite(bytes).length).toBeLessThanOrEqual(Buffer.concat(bytes).length + REFUSAL.length);
      }),
    );
  });
});
