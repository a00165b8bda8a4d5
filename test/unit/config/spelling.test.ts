import { expect, test } from 'vitest';
import { nearest, suggestion } from '../../../agent/config/spelling.ts';

const known = ['trust_domain', 'socket', 'admin_socket', 'log_level', 'ttl'];

test.each([
  ['trust_domian', 'trust_domain'],
  ['trustDomain', 'trust_domain'],
  ['TRUST-DOMAIN', 'trust_domain'],
  ['socke', 'socket'],
  ['sokcet', 'socket'],
  ['adminsocket', 'admin_socket'],
  ['loglevel', 'log_level'],
  ['tll', 'ttl'],
])('%s is nearest to %s', (word, expected) => {
  expect(nearest(word, known)).toBe(expected);
});

test.each(['x', '', 'bundle', 'domain_of_trust', 'x'.repeat(1_000_000)])('%.20s is near to none', (word) => {
  expect(nearest(word, known)).toBeUndefined();
});

test('a suggestion names the nearest, else all', () => {
  expect(suggestion('sockt', known)).toBe('did you mean socket?');
  expect(suggestion('bundle', known)).toBe('allowed are trust_domain, socket, admin_socket, log_level, ttl');
  expect(suggestion('bundle', [])).toBe('nothing is allowed here');
});
