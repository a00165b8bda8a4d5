import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  EMPTY_SETTINGS,
  frame,
  joinHeaderFrames,
  MAX_FRAME_BYTES,
  PREFACE,
  pingAck,
  splitHeaderFrames,
} from '../../../../agent/peer/http2/frames.ts';
import {
  CONTINUATION,
  END_HEADERS,
  END_STREAM,
  HEADERS,
  PADDED,
  PING,
  PRIORITY,
} from '../../../support/http2-client.ts';

const NONE = Buffer.alloc(0);

function join(...frames: Buffer[]) {
  const bytes = Buffer.concat([Buffer.from('before'), ...frames, Buffer.from('after')]);
  return joinHeaderFrames(bytes, 6, bytes.length - 5);
}

describe('frames', () => {
  it('writes the preface and frames as RFC 9113 draws them', () => {
    expect(PREFACE.toString('hex')).toBe('505249202a20485454502f322e300d0a0d0a534d0d0a0d0a');
    expect(EMPTY_SETTINGS.toString('hex')).toBe('000000040000000000');
    expect(frame(1, 5, 0x7fff_ffff, Buffer.from('ab')).toString('hex')).toBe('00000201057fffffff6162');
  });

  it('answers a PING with its own payload', () => {
    const ping = frame(PING, 0, 0, Buffer.from('12345678'));
    expect(pingAck(Buffer.concat([Buffer.from('x'), ping]), 1)).toEqual(frame(PING, 1, 0, Buffer.from('12345678')));
  });
});

describe('joining header frames', () => {
  it('reads one frame', () => {
    expect(join(frame(HEADERS, END_HEADERS | END_STREAM, 7, Buffer.from('block')))).toEqual({
      stream: 7,
      endStream: true,
      priority: NONE,
      block: Buffer.from('block'),
    });
  });

  it('ignores the reserved bit of a stream', () => {
    const bytes = frame(HEADERS, END_HEADERS, 3, NONE);
    bytes[5] = 0x80;
    expect(join(bytes).stream).toBe(3);
  });

  it('takes off padding and priority, and joins CONTINUATION', () => {
    const payload = Buffer.concat([Buffer.from([3]), Buffer.from('prior'), Buffer.from('one'), Buffer.alloc(3)]);
    expect(
      join(
        frame(HEADERS, PADDED | PRIORITY, 5, payload),
        frame(CONTINUATION, 0, 5, NONE),
        frame(CONTINUATION, END_HEADERS, 5, Buffer.from('two')),
      ),
    ).toEqual({ stream: 5, endStream: false, priority: Buffer.from('prior'), block: Buffer.from('onetwo') });
  });

  it.each([
    ['padding that is longer than the frame', PADDED, Buffer.from([2, 0])],
    ['padding that reaches into the priority', PADDED | PRIORITY, Buffer.from([1, 0, 0, 0, 0, 0])],
    ['a length of padding that is not there', PADDED, NONE],
    ['half a priority', PRIORITY, Buffer.alloc(4)],
  ])('refuses %s', (_name, flags, payload) => {
    // CONTINUATION follows, so that what is missing would be found behind the frame.
    const frames = [frame(HEADERS, flags, 1, payload), frame(CONTINUATION, END_HEADERS, 1, Buffer.alloc(20))];
    expect(() => join(...frames)).toThrowError(
      expect.objectContaining({
        code: 'INVALID_REQUEST',
        message: 'the padding or priority of a HEADERS frame is longer than the frame',
      }),
    );
  });
});

describe('splitting a header block', () => {
  it('gives back what was joined, in frames that no server finds too large', () => {
    const lengths = fc.oneof(fc.nat(100), fc.integer({ min: MAX_FRAME_BYTES - 6, max: MAX_FRAME_BYTES * 3 }));
    fc.assert(
      fc.property(lengths, fc.boolean(), fc.boolean(), (length, endStream, prioritised) => {
        const block = Buffer.alloc(length, 'block');
        const frames = { stream: 9, endStream, priority: Buffer.alloc(prioritised ? 5 : 0, 1), block };
        const bytes = splitHeaderFrames(frames);
        expect(joinHeaderFrames(bytes, 0, bytes.length)).toEqual(frames);
        for (let at = 0; at < bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
          expect(bytes.readUIntBE(at, 3)).toBeLessThanOrEqual(MAX_FRAME_BYTES);
          const last = at + 9 + bytes.readUIntBE(at, 3) === bytes.length;
          expect(((bytes[at + 4] ?? 0) & END_HEADERS) !== 0).toBe(last);
        }
      }),
      { numRuns: 60 },
    );
  });
});
