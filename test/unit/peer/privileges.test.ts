import { expect, it } from 'vitest';
import { missingPrivileges } from '../../../agent/peer/privileges.ts';

function missing(effective: string): readonly string[] {
  return missingPrivileges(
    `Name:\tnode\nCapPrm:\tffffffffffffffff\nCapEff:\t${effective}\nCapBnd:\tffffffffffffffff\n`,
  ).map(({ name }) => name);
}

it.each([
  ['root', '000001ffffffffff', []],
  ['exactly what is needed', '0000000000080004', []],
  ['what implies it', '0000000000080002', []],
  ['no sight of processes', '0000000000000004', ['CAP_SYS_PTRACE']],
  ['no way to files', '0000000000080000', ['CAP_DAC_READ_SEARCH']],
  ['nothing', '0000000000000000', ['CAP_SYS_PTRACE', 'CAP_DAC_READ_SEARCH']],
])('names what is missing with %s', (_, effective, names) => {
  expect(missing(effective)).toEqual(names);
});

it('takes a status that says nothing for no rights, and says what will not work', () => {
  const [first, second] = missingPrivileges('');
  expect(first?.message).toMatch(
    /^CAP_SYS_PTRACE is missing: .*unix:path.*enter another namespace goes unnoticed; give it/,
  );
  expect(second?.message).toMatch(/^CAP_DAC_READ_SEARCH is missing: .*execute another program goes unnoticed/);
});
