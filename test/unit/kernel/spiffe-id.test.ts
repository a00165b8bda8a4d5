import { array, assert, property, stringMatching } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isMayflyError } from '../../../agent/kernel/errors.ts';
import {
  idOfTrustDomain,
  isPathSegment,
  parseSpiffeId,
  parseTrustDomain,
  pathOf,
  trustDomainOf,
} from '../../../agent/kernel/spiffe-id.ts';

const ALL_BYTES = Array.from({ length: 256 }, (_, code) => String.fromCodePoint(code));
const DOMAIN_CHARACTERS = new Set('abcdefghijklmnopqrstuvwxyz0123456789.-_');
const PATH_CHARACTERS = new Set('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_');

function accepts(parse: () => unknown, code: string): boolean {
  try {
    parse();
    return true;
  } catch (error) {
    if (!isMayflyError(error, code as never)) throw error;
    return false;
  }
}

describe('trust domains', () => {
  it.each(ALL_BYTES.map((character) => [character]))(
    'takes the character %j only where the standard does',
    (character) => {
      expect(accepts(() => parseTrustDomain(`a${character}b`), 'INVALID_TRUST_DOMAIN')).toBe(
        DOMAIN_CHARACTERS.has(character),
      );
    },
  );

  it('has 1 to 255 bytes', () => {
    expect(parseTrustDomain('a'.repeat(255))).toHaveLength(255);
    expect(() => parseTrustDomain('a'.repeat(256))).toThrow('is longer than 255 bytes');
    expect(() => parseTrustDomain('')).toThrow('is empty; name one, such as example.org');
    expect(() => parseTrustDomain('spiffe://')).toThrow('is empty');
  });

  it('is taken in the form that operators copy, without a path', () => {
    expect(parseTrustDomain('spiffe://example.org')).toBe('example.org');
    expect(() => parseTrustDomain('spiffe://example.org/')).toThrow('ports, paths and user names are not allowed');
  });

  it('says of an upper-case letter what it is', () => {
    expect(() => parseTrustDomain('Example.org')).toThrow('trust domain "Example.org" has an upper-case letter');
  });
});

describe('SPIFFE IDs', () => {
  it.each(ALL_BYTES.map((character) => [character]))(
    'take the path character %j only where the standard does',
    (character) => {
      const taken = accepts(() => parseSpiffeId(`spiffe://td/a${character}b`), 'INVALID_SPIFFE_ID');
      // A slash in the middle separates two segments.
      expect(taken).toBe(PATH_CHARACTERS.has(character) || character === '/');
    },
  );

  it.each([
    ['', 'does not start with spiffe://'],
    ['SPIFFE://td/a', 'does not start with spiffe://'],
    ['https://td/a', 'does not start with spiffe://'],
    ['spiffe:/td/a', 'does not start with spiffe://'],
    ['spiffe:///a', 'has a trust domain that is empty'],
    ['spiffe://td/', 'ends with a slash'],
    ['spiffe://td/a/', 'ends with a slash'],
    ['spiffe://td//a', 'has an empty path segment'],
    ['spiffe://td/./a', 'has the path segment "."'],
    ['spiffe://td/a/..', 'has the path segment ".."'],
    ['spiffe://td:80/a', 'has a trust domain that has a character other than'],
    ['spiffe://user@td/a', 'has a trust domain that has a character other than'],
    ['spiffe://td/a?b=c', 'has a path character other than'],
    ['spiffe://td/a#b', 'has a path character other than'],
    ['spiffe://td/%61', 'has a path character other than'],
    ['spiffe://td/ä', 'has a path character other than'],
    ['spiffe://TD/a', 'has a trust domain that has an upper-case letter'],
  ])('refuse %j: %s', (text, problem) => {
    expect(() => parseSpiffeId(text)).toThrow(problem);
    expect(accepts(() => parseSpiffeId(text), 'INVALID_SPIFFE_ID')).toBe(false);
  });

  it.each(['spiffe://td', 'spiffe://td/a', 'spiffe://td/...', 'spiffe://td/a..b/.c', 'spiffe://a_b-c.d/A/0'])(
    'take %j',
    (text) => {
      expect(parseSpiffeId(text)).toBe(text);
    },
  );

  it('have at most 2048 bytes', () => {
    const prefix = 'spiffe://td/';
    expect(parseSpiffeId(prefix + 'a'.repeat(2048 - prefix.length))).toHaveLength(2048);
    expect(() => parseSpiffeId(prefix + 'a'.repeat(2049 - prefix.length))).toThrow('is longer than 2048 bytes');
  });

  it('come apart into trust domain and path, and together again', () => {
    const name = stringMatching(/^[a-z0-9._-]{1,30}$/);
    const segment = stringMatching(/^[A-Za-z0-9._-]{1,20}$/).filter(isPathSegment);
    assert(
      property(name, array(segment, { maxLength: 5 }), (domain, segments) => {
        const path = segments.map((one) => `/${one}`).join('');
        const id = parseSpiffeId(`spiffe://${domain}${path}`);
        expect(trustDomainOf(id)).toBe(domain);
        expect(pathOf(id)).toBe(path);
        expect(`${idOfTrustDomain(trustDomainOf(id))}${pathOf(id)}`).toBe(id);
      }),
    );
  });

  it('shows a stranger’s input short and escaped', () => {
    expect(() => parseSpiffeId(`\n${'x'.repeat(5000)}`)).toThrow(/^SPIFFE ID "\\nx{119}…" does not start with/);
  });
});
