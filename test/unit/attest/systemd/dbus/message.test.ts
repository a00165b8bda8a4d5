import { array, assert, integer, nat, oneof, property, tuple, uint8Array } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decode, encodeCall, sizeOf } from '../../../../../agent/attest/systemd/dbus/message.ts';
import { Reader } from '../../../../../agent/attest/systemd/dbus/reader.ts';
import { MalformedMessage, typesOf } from '../../../../../agent/attest/systemd/dbus/values.ts';
import { encode, failed, type Plain, returned } from '../../../../support/message-bus.ts';

const CALL = {
  destination: 'org.freedesktop.systemd1',
  path: '/org/freedesktop/systemd1',
  interface: 'org.freedesktop.systemd1.Manager',
  member: 'GetUnitByPID',
  arguments: [4242],
};

function read(signature: string, values: readonly Plain[]) {
  return new Reader(encode(signature, values), true).values(typesOf(signature));
}

describe('messages of D-Bus', () => {
  it('writes a call that reads as what was asked, in the order of bytes that a bus takes', () => {
    const bytes = encodeCall(CALL, 7);
    expect(sizeOf(bytes)).toBe(bytes.length);
    expect(decode(bytes)).toEqual({
      kind: 'call',
      serial: 7,
      replyTo: undefined,
      path: CALL.path,
      interface: CALL.interface,
      member: CALL.member,
      error: '',
      sender: '',
      body: [4242],
    });
  });

  it('reads what another encoder has written', () => {
    const values: Plain[] = [
      1,
      true,
      -5,
      65_000,
      -70_000,
      4_000_000_000,
      -9n,
      2n ** 63n,
      'é',
      '/a',
      'a{sv}',
      [1, 2, 3],
    ];
    expect(read('ybnqiuxtsogay', values)).toEqual([...values.slice(0, -1), Buffer.from([1, 2, 3])]);
    expect(
      read('a(sb)', [
        [
          ['a', true],
          ['b', false],
        ],
      ]),
    ).toEqual([
      [
        ['a', true],
        ['b', false],
      ],
    ]);
    expect(
      read('a{sv}', [
        [
          ['A', ['s', 'x']],
          ['B', ['a{uas}', [[7, ['y', 'z']]]]],
        ],
      ]),
    ).toEqual([
      new Map<string, unknown>([
        ['A', 'x'],
        ['B', new Map([[7, ['y', 'z']]])],
      ]),
    ]);
    expect(read('at', [[]])).toEqual([[]]);
  });

  it('knows whom an answer is for, and what went wrong', () => {
    const call = decode(encodeCall(CALL, 9));
    expect(decode(returned(call, 's', ['x']))).toMatchObject({ kind: 'return', replyTo: 9, body: ['x'] });
    expect(decode(failed(call, 'org.example.No', 'because'))).toMatchObject({
      kind: 'error',
      replyTo: 9,
      error: 'org.example.No',
      body: ['because'],
    });
  });

  it.each([
    ['a text without its end', 's', Buffer.from([1, 0, 0, 0, 65, 66])],
    ['a text with a NUL within', 's', Buffer.from([2, 0, 0, 0, 65, 0, 0])],
    ['a text that is no UTF-8', 's', Buffer.from([1, 0, 0, 0, 0xff, 0])],
    ['a text longer than the message', 's', Buffer.from([0xff, 0xff, 0xff, 0x7f, 65, 0])],
    ['an array longer than the message', 'au', Buffer.from([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])],
    ['an array that ends within an element', 'au', Buffer.from([3, 0, 0, 0, 1, 0, 0, 0])],
    ['a boolean that is two', 'b', Buffer.from([2, 0, 0, 0])],
    ['a variant of two values', 'v', Buffer.from([2, 0x75, 0x75, 0, 1, 0, 0, 0, 1, 0, 0, 0])],
    ['what fills up and is not zero', 'yu', Buffer.from([1, 9, 9, 9, 1, 0, 0, 0])],
  ])('refuses %s', (_, signature, bytes) => {
    expect(() => new Reader(bytes, true).values(typesOf(signature))).toThrow(MalformedMessage);
  });

  it.each(['a', '(', '()', '(s', 'a{s}', 'a{vs}', 'z', 'a{sv', 's'.repeat(256), 'a'.repeat(100)])(
    'refuses the signature %s',
    (signature) => {
      expect(() => typesOf(signature)).toThrow(MalformedMessage);
    },
  );

  it('refuses variants in variants without end', () => {
    const nested = Buffer.concat(Array.from({ length: 200 }, () => Buffer.from([1, 0x76, 0])));
    expect(() => new Reader(nested, true).values(typesOf('v'))).toThrow('too deeply');
  });

  it('refuses a message that claims more than anybody sends, before it is there', () => {
    const bytes = encodeCall(CALL, 1);
    bytes.writeUInt32LE(0x7fff_ffff, 4);
    expect(() => sizeOf(bytes)).toThrow(MalformedMessage);
  });

  it('throws nothing else and never hangs, whatever comes', () => {
    const good = returned(decode(encodeCall(CALL, 3)), 'a{sv}', [
      [
        ['Id', ['s', 'a.service']],
        ['InvocationID', ['ay', [1, 2, 3]]],
        ['Job', ['(uo)', [0, '/']]],
      ],
    ]);
    const damaged = array(tuple(nat(good.length - 1), integer({ min: 0, max: 255 })), {
      minLength: 1,
      maxLength: 6,
    }).map((changes) => {
      const bytes = Buffer.from(good);
      for (const [at, byte] of changes) bytes[at] = byte;
      return bytes;
    });
    const any = uint8Array({ minLength: 16, maxLength: 200 }).map((bytes) => Buffer.from(bytes));
    assert(
      property(oneof(damaged, any), (bytes) => {
        try {
          const size = sizeOf(bytes);
          if (size !== undefined && size <= bytes.length) decode(bytes.subarray(0, size));
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedMessage);
        }
      }),
      { numRuns: 3000 },
    );
  });
});
