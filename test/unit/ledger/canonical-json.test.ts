import { generateKeyPairSync } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Secret } from '../../../agent/kernel/secret.ts';
import { CanonicalText, canonicalJson } from '../../../agent/ledger/canonical-json.ts';

/** The values that a record may hold. */
const values = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.string({ unit: 'binary' }),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.string({ unit: 'binary', maxLength: 6 }), tie('value'), { maxKeys: 5 }),
  ),
})).value;

describe('canonical JSON', () => {
  test('says what was said', () => {
    fc.assert(
      fc.property(values, (value) => {
        expect(JSON.parse(canonicalJson(value))).toEqual(value);
      }),
    );
  });

  test('is one text for one value, in whatever order its members were set', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'binary' }), values), (value) => {
        const backwards = Object.fromEntries(Object.entries(value).toReversed());
        expect(canonicalJson(backwards)).toBe(canonicalJson(value));
      }),
    );
  });

  test('sorts by UTF-16 units, as the example of RFC 8785 §3.2.3 does', () => {
    const value = { '\u20ac': 1, '\r': 2, '\ufb33': 3, '1': 4, '\u{1f600}': 5, '\u0080': 6, '\u00f6': 7 };
    const text = '{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\u{1f600}":5,"\ufb33":3}';
    expect(canonicalJson(value)).toBe(text);
  });

  test('spells strings as §3.2.2.2 does', () => {
    expect(canonicalJson('€$\u000F\u000aA\'\u0042\u0022\u005c\\"/')).toBe('"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"');
    expect(canonicalJson('\b\t\n\f\r\u001f\u007f\u2028')).toBe('"\\b\\t\\n\\f\\r\\u001f\u007f\u2028"');
  });

  test('makes of a lone surrogate what UTF-8 can hold', () => {
    expect(canonicalJson('a\ud800b')).toBe('"a\ufffdb"');
    expect(() => canonicalJson({ 'a\ud800': 1 })).toThrow(TypeError);
  });

  test('takes no key, secret or token in bytes', () => {
    const { privateKey } = generateKeyPairSync('ed25519');
    const der = privateKey.export({ type: 'pkcs8', format: 'der' });
    for (const value of [privateKey, der, new Secret(der), new Uint8Array(der), new Map([['key', 'x']]), new Date(0)]) {
      expect(() => canonicalJson({ reason: value })).toThrow(/has no place in a record/);
    }
  });

  test('leaves out what is undefined, and writes minus zero as zero', () => {
    expect(canonicalJson({ b: undefined, a: -0 })).toBe('{"a":0}');
    expect(canonicalJson({})).toBe('{}');
    expect(canonicalJson([])).toBe('[]');
  });

  test.each([0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, null, undefined, 1n, Symbol('a'), () => 1])(
    'refuses %s',
    (value) => {
      expect(() => canonicalJson(value)).toThrow(TypeError);
      expect(() => canonicalJson({ a: [value] })).toThrow(TypeError);
    },
  );

  test('writes out once what is frozen, and anew what is not', () => {
    let reads = 0;
    const counted = {
      get a() {
        reads += 1;
        return 'x';
      },
    };
    const frozen = Object.freeze(Object.create(null, { a: { enumerable: true, get: () => counted.a } }));
    expect([canonicalJson([frozen]), canonicalJson([frozen])]).toEqual(['[{"a":"x"}]', '[{"a":"x"}]']);
    expect(reads).toBe(1);
    const open = { a: 1 };
    canonicalJson(open);
    open.a = 2;
    expect(canonicalJson(open)).toBe('{"a":2}');
  });

  test('takes over what is canonical already', () => {
    expect(canonicalJson({ b: new CanonicalText('{"x":1}'), a: 'y' })).toBe('{"a":"y","b":{"x":1}}');
  });
});
