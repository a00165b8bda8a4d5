import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type FrameSink, FrameSplitter } from '../../../../agent/peer/http2/frame-splitter.ts';
import {
  ACK,
  CONTINUATION,
  DATA,
  END_HEADERS,
  frameOf,
  HEADERS,
  PADDED,
  PING,
  SETTINGS,
  SETTINGS_ACK,
} from '../../../support/http2-client.ts';

/** Writes down what it is given, and what was passed as one range however often it was cut. */
class Recorder implements FrameSink {
  readonly seen: [string, string][] = [];

  pass(data: Buffer, start: number, end: number): void {
    const last = this.seen.at(-1);
    if (last?.[0] === 'pass') last[1] += hex(data, start, end);
    else this.seen.push(['pass', hex(data, start, end)]);
  }

  settingsAck(data: Buffer, start: number, end: number): void {
    this.seen.push(['ack', hex(data, start, end)]);
  }

  ping(data: Buffer, start: number, end: number): void {
    this.seen.push(['ping', hex(data, start, end)]);
  }

  headers(data: Buffer, start: number, end: number): void {
    this.seen.push(['headers', hex(data, start, end)]);
  }
}

function hex(data: Buffer, start: number, end: number): string {
  return data.toString('hex', start, end);
}

const PING_FRAME = frameOf(PING, 0, 0, Buffer.from('12345678'));
const ONE_HEADERS = frameOf(HEADERS, END_HEADERS | PADDED, 1, Buffer.alloc(40, 7));
const THREE_HEADERS = Buffer.concat([
  frameOf(HEADERS, 0, 3, Buffer.alloc(300, 1)),
  frameOf(CONTINUATION, 0, 3),
  frameOf(CONTINUATION, END_HEADERS, 3, Buffer.alloc(300, 2)),
]);
const DATA_FRAME = frameOf(DATA, 1, 1, Buffer.alloc(900, 3));

const SESSION: readonly [string, Buffer][] = [
  ['pass', frameOf(SETTINGS, 0, 0, Buffer.alloc(12))],
  ['ping', PING_FRAME],
  ['ack', SETTINGS_ACK],
  ['headers', ONE_HEADERS],
  ['pass', Buffer.concat([DATA_FRAME, frameOf(PING, ACK, 0, Buffer.alloc(8)), frameOf(0xee, 0xff, 9)])],
  ['headers', THREE_HEADERS],
  // Neither is what it says: nghttp2's to refuse.
  ['pass', Buffer.concat([frameOf(SETTINGS, ACK, 0, Buffer.alloc(6)), frameOf(PING, 0, 0, Buffer.alloc(7))])],
  ['headers', ONE_HEADERS],
];
const BYTES = Buffer.concat(SESSION.map(([, bytes]) => bytes));
const EXPECTED = SESSION.map(([kind, bytes]) => [kind, bytes.toString('hex')]);

function split(pieces: readonly Buffer[], maxHeaderBytes = 1000): { seen: [string, string][]; held: Buffer } {
  const splitter = new FrameSplitter(maxHeaderBytes);
  const recorder = new Recorder();
  for (const piece of pieces) splitter.push(piece, recorder);
  return { seen: recorder.seen, held: splitter.held };
}

describe('splitting frames', () => {
  it('gives each frame to where it belongs', () => {
    expect(split([BYTES])).toEqual({ seen: EXPECTED, held: Buffer.alloc(0) });
  });

  it('does so byte by byte', () => {
    expect(split(Array.from(BYTES, (byte) => Buffer.from([byte]))).seen).toEqual(EXPECTED);
  });

  it('does so wherever it is cut, with nothing lost between sink and what is held', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(BYTES.length), { maxLength: 12 }), fc.nat(BYTES.length), (cuts, stop) => {
        const places = [0, ...cuts.filter((cut) => cut < stop).sort((a, b) => a - b), stop];
        const pieces = places.slice(1).map((end, index) => BYTES.subarray(places[index], end));
        const { seen, held } = split(pieces);
        const all = seen.map(([, bytes]) => bytes).join('') + held.toString('hex');
        expect(all).toBe(BYTES.subarray(0, stop).toString('hex'));
      }),
    );
  });

  it('passes what comes of a payload at once', () => {
    const { seen, held } = split([DATA_FRAME.subarray(0, 200)]);
    expect(seen).toEqual([['pass', DATA_FRAME.toString('hex', 0, 200)]]);
    expect(held).toHaveLength(0);
  });

  it('takes a header block up to its limit in tiny frames and single bytes without growing slower', () => {
    const frames = Array.from({ length: 20_000 }, () => frameOf(CONTINUATION, 0, 1));
    const bytes = Buffer.concat([frameOf(HEADERS, 0, 1), ...frames, frameOf(CONTINUATION, END_HEADERS, 1)]);
    const start = performance.now();
    const { seen } = split(
      Array.from(bytes, (byte) => Buffer.from([byte])),
      bytes.length,
    );
    expect(seen).toHaveLength(1);
    // 180,000 pieces; looking at all that is held for each of 20,000 frames would take minutes.
    expect(performance.now() - start).toBeLessThan(3000);
  });
});

describe('what has no meaning', () => {
  it.each([
    ['another frame inside a header block', frameOf(DATA, 0, 1)],
    ['a CONTINUATION of another stream', frameOf(CONTINUATION, END_HEADERS, 3)],
    ['HEADERS inside a header block', frameOf(HEADERS, END_HEADERS, 1)],
  ])('refuses %s', (_name, second) => {
    expect(() => split([frameOf(HEADERS, 0, 1), second])).toThrowError(
      expect.objectContaining({ code: 'INVALID_REQUEST', message: 'a header block is interrupted by another frame' }),
    );
  });

  it.each([DATA, HEADERS, SETTINGS, 0xee])(
    'refuses a frame of type %i that is too large by its header alone',
    (type) => {
      expect(() => split([frameOf(type, 0, 1, Buffer.alloc(16_385)).subarray(0, 9)])).toThrowError(
        expect.objectContaining({ code: 'OVER_LIMIT', message: 'a frame of 16385 bytes; at most 16384 are allowed' }),
      );
    },
  );

  it('refuses a header block over the limit before it has come, and takes one at the limit', () => {
    const refusal = expect.objectContaining({ code: 'OVER_LIMIT', message: 'a header block is larger than 100 bytes' });
    const block = (length: number) => frameOf(HEADERS, END_HEADERS, 1, Buffer.alloc(length - 9));
    expect(split([block(100)], 100).seen).toHaveLength(1);
    expect(() => split([block(101).subarray(0, 9)], 100)).toThrowError(refusal);
    const many = [frameOf(HEADERS, 0, 1), ...Array.from({ length: 11 }, () => frameOf(CONTINUATION, 0, 1))];
    expect(() => split(many, 100)).toThrowError(refusal);
  });
});
