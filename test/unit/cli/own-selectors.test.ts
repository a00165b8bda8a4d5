import { expect, test } from 'vitest';
import { ownSelectors } from '../../../agent/cli/own-selectors.ts';

test('a process names its ids where they are those of the machine', () => {
  expect(ownSelectors('         0          0 4294967295\n')).toBe(
    `unix:uid:${process.geteuid?.()}, unix:gid:${process.getegid?.()}, unix:path:${process.execPath}`,
  );
});

test.each([
  ['a container without root', '         0       1000          1\n         1     100000      65536\n'],
  ['a namespace in which nobody is mapped', ''],
  ['a namespace of a user alone', '      1000       1000          1\n'],
])('in %s it names none, since the agent knows it by others', (_, map) => {
  expect(ownSelectors(map)).toBe(`unix:path:${process.execPath}, with ids that it cannot tell in its user namespace`);
});
