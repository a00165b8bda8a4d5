import { inspect } from 'node:util';
import { assert, integer, property } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAudience, parseAudiences } from '../../../agent/kernel/audience.ts';
import { formatDuration, parseDuration, parseSize } from '../../../agent/kernel/duration.ts';
import { Secret } from '../../../agent/kernel/secret.ts';
import { parseSelector, selector, selectorType } from '../../../agent/kernel/selector.ts';

describe('selectors', () => {
  it('split at the first colon', () => {
    expect(selectorType(parseSelector('unix:path:/a:b'))).toBe('unix');
    expect(selector('unix', 'uid', '0')).toBe('unix:uid:0');
  });

  it.each([
    ['unix', 'has no type'],
    ['', 'has no type'],
    [':uid:1', 'has no type'],
    ['Unix:uid:1', 'has no type'],
    ['unix:', 'has no value'],
  ])('refuse %j: it %s', (text, problem) => {
    expect(() => parseSelector(text)).toThrow(
      expect.objectContaining({ code: 'INVALID_SELECTOR', message: expect.stringContaining(problem) }),
    );
  });
});

describe('audiences', () => {
  it('are sorted, none twice', () => {
    expect(parseAudiences(['b', 'a', 'b'])).toEqual(['a', 'b']);
  });

  it.each([
    [[], 'AUDIENCE_MISSING'],
    [['a', ''], 'AUDIENCE_MISSING'],
    [['a\0b'], 'INVALID_AUDIENCE'],
    [['a\nb'], 'INVALID_AUDIENCE'],
    [['\ud800'], 'INVALID_AUDIENCE'],
    [['\ufffd'], 'INVALID_AUDIENCE'],
    [['x'.repeat(1025)], 'INVALID_AUDIENCE'],
    [['ä'.repeat(513)], 'INVALID_AUDIENCE'],
  ])('refuse %j with %s', (texts, code) => {
    expect(() => parseAudiences(texts)).toThrow(expect.objectContaining({ code }));
  });

  it('take 1024 bytes of anything printable', () => {
    expect(parseAudience('ä'.repeat(512))).toHaveLength(512);
    expect(parseAudience('spiffe://example.org/a b')).toBe('spiffe://example.org/a b');
  });
});

describe('durations', () => {
  it.each([
    ['30s', 30_000],
    ['1h30m', 5_400_000],
    ['7d', 604_800_000],
    ['500ms', 500],
    ['1d1h1m1s1ms', 90_061_001],
  ])('%s is %d ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(['', '5', '1.5h', '-1s', '1m1h', '1h1h', '1 h', '1H', 's', '99999999999d'])('refuse %j', (text) => {
    expect(() => parseDuration(text)).toThrow(expect.objectContaining({ code: 'INVALID_DURATION' }));
  });

  it('are read as they are written', () => {
    assert(
      property(integer({ min: 1, max: 10 ** 12 }), (ms) => {
        expect(parseDuration(formatDuration(ms))).toBe(ms);
      }),
    );
    expect(parseDuration(formatDuration(0))).toBe(0);
  });
});

describe('sizes', () => {
  it.each([
    ['0', 0],
    ['65536', 65_536],
    ['64KiB', 65_536],
    ['4MiB', 4_194_304],
    ['1GiB', 1_073_741_824],
    ['7B', 7],
  ])('%s is %d bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each(['', '1KB', '1.5MiB', '-1', '1 MiB', '9999999999999999GiB'])('refuse %j', (text) => {
    expect(() => parseSize(text)).toThrow(expect.objectContaining({ code: 'INVALID_SIZE' }));
  });
});

describe('a secret', () => {
  it('cannot be printed, only revealed', () => {
    const secret = new Secret(Buffer.from('hush'));
    const shown = [
      String(secret),
      JSON.stringify({ secret }),
      inspect({ secret }),
      inspect(secret, { showHidden: true }),
    ];
    for (const text of shown) {
      expect(text).toContain('[private key]');
      expect(text).not.toContain('hush');
    }
    expect(secret.reveal().toString()).toBe('hush');
  });

  it('is overwritten when it is destroyed', () => {
    const bytes = Buffer.from('hush');
    const secret = new Secret(bytes);
    secret.destroy();
    secret.destroy();
    expect([...bytes]).toEqual([0, 0, 0, 0]);
    expect(secret.destroyed).toBe(true);
    expect(() => secret.reveal()).toThrow('the private key was destroyed');
  });
});
