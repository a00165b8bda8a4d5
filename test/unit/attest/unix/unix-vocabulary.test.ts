import { expect, it } from 'vitest';
import { unixVocabulary } from '../../../../agent/attest/unix/unix-vocabulary.ts';
import { parseSelector } from '../../../../agent/kernel/selector.ts';

const ALL = unixVocabulary({ path: true, sha256: true });

it.each([
  'unix:uid:0',
  'unix:gid:4294967295',
  'unix:supplementary_gid:27',
  'unix:user:nobody',
  'unix:group:domain users@corp',
  'unix:supplementary_group:wheel',
  'unix:path:/usr/bin/a:b',
  `unix:sha256:${'0f'.repeat(32)}`,
])('%s may be said', (text) => {
  expect(ALL.neverSaid(parseSelector(text))).toBeUndefined();
});

it.each([
  ['unix:uid:root', 'never matches: unix:uid takes a decimal number'],
  ['unix:uid:007', 'never matches: unix:uid takes a decimal number'],
  ['unix:path:payments', 'never matches: unix:path takes an absolute path'],
  [`unix:sha256:${'0F'.repeat(32)}`, 'never matches: unix:sha256 takes 64 lower-case hexadecimal digits'],
  ['unix:uid', 'never matches: unix:uid takes a decimal number'],
  [
    'unix:usr:root',
    'names nothing that unix says; it says uid, user, gid, group, supplementary_gid, supplementary_group, path, sha256',
  ],
  [
    'unix:constructor:x',
    'names nothing that unix says; it says uid, user, gid, group, supplementary_gid, supplementary_group, path, sha256',
  ],
])('%s is never said: %s', (text, why) => {
  expect(ALL.neverSaid(parseSelector(text))).toBe(why);
});

it('says why what is switched off never matches', () => {
  const little = unixVocabulary({ path: false, sha256: false });
  expect(little.neverSaid(parseSelector('unix:path:/bin/sh'))).toBe('never matches: attestors.unix.path is false');
  expect(little.neverSaid(parseSelector(`unix:sha256:${'00'.repeat(32)}`))).toBe(
    'never matches: attestors.unix.sha256 is false',
  );
  expect(unixVocabulary({ path: 'any', sha256: false }).neverSaid(parseSelector('unix:path:/bin/sh'))).toBeUndefined();
});

it('has an example of each name, which it may say itself', () => {
  for (const [type, names] of ALL.names) {
    expect(ALL.types).toContain(type);
    expect(names.size).toBe(8);
    for (const [name, { example, key }] of names) {
      expect(key).toBeUndefined();
      expect(ALL.neverSaid(parseSelector(`${type}:${name}:${example}`))).toBeUndefined();
    }
  }
});
