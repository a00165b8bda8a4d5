import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { layoutIn, startTimeIn, statusField } from '../../../../agent/peer/system/proc.ts';

// Fifteen bytes that the process chooses; the kernel escapes newlines in a status, and nothing in a stat.
const comm = fc.oneof(
  fc.string({ maxLength: 15 }),
  fc.string({ unit: fc.constantFrom('\r', '\t', ' ', ')', '(', 'Groups:', '0', '\u2028', '\v', 'S'), maxLength: 8 }),
);

test('a field of a status is the kernel’s, whatever the process is called', () => {
  fc.assert(
    fc.property(comm, (name) => {
      const escaped = name.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
      const status = `Name:\t${escaped}\nUmask:\t0022\nState:\tS (sleeping)\nGroups:\t4 27 \nNStgid:\t7\n`;
      expect(statusField(status, 'Groups')).toBe('4 27');
      expect(statusField(status, 'Umask')).toBe('0022');
      expect(statusField(status, 'CapEff')).toBeUndefined();
    }),
    { numRuns: 2000 },
  );
});

test('the start of a process is the kernel’s, whatever it is called', () => {
  const fields = Array.from({ length: 50 }, (_, index) => String(index + 3));
  fc.assert(
    fc.property(comm, (name) => {
      const stat = `7 (${name}) S ${fields.slice(1).join(' ')}\n`;
      expect(startTimeIn(stat)).toBe('22');
      expect(layoutIn(stat)).toBe('26 27 28 45 46 47 48 49 50 51');
    }),
    { numRuns: 2000 },
  );
});
