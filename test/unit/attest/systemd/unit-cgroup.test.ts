import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isIn, isUnit, unitCgroupIn, userUnitIn } from '../../../../agent/attest/systemd/unit-cgroup.ts';

const USER = '/user.slice/user-1000.slice/user@1000.service';

function namesIn(text: string): readonly string[] | undefined {
  return unitCgroupIn(text)?.names;
}

describe('where a process is among units', () => {
  it.each([
    ['the unified hierarchy', '0::/system.slice/payments.service\n', ['system.slice', 'payments.service']],
    [
      'old hierarchies, of which the one named after systemd counts',
      '12:memory:/system.slice\n1:name=systemd:/system.slice/payments.service\n0::/\n',
      ['system.slice', 'payments.service'],
    ],
    ['below a unit, where it makes cgroups of its own', '0::/a.service/supervisor\n', ['a.service', 'supervisor']],
    ['a name that the kernel could take for a file of its own', '0::/_memory.service\n', ['memory.service']],
    [
      'a cgroup namespace of the agent itself',
      '0::/../../system.slice/docker-0a.scope\n',
      ['..', '..', 'system.slice', 'docker-0a.scope'],
    ],
  ])('reads it of %s', (_, text, names) => {
    expect(namesIn(text)).toEqual(names);
  });

  it.each([
    ['the root', '0::/\n'],
    ['a container of an engine that does without systemd', '0::/docker/0a1b\n'],
    ['old hierarchies without systemd', '3:cpu:/a.service\n1:name=systemd:/\n0::/x.service\n'],
    ['nothing', ''],
  ])('asks nobody about %s', (_, text) => {
    expect(unitCgroupIn(text)).toBeUndefined();
  });

  it('takes nothing that stands in a name for a line of its own', () => {
    const below = '/x\r1:name=systemd:/system.slice/sshd.service';
    expect(namesIn(`0::${USER}${below}\n`)?.slice(0, 4)).toEqual([
      'user.slice',
      'user-1000.slice',
      'user@1000.service',
      'x\r1:name=systemd:',
    ]);
    expect(namesIn('0::/x\r0::/system.slice/sshd.service\n')?.[0]).toBe('x\r0::');
  });

  it('finds what systemd names only on the way', () => {
    const cgroup = unitCgroupIn('0::/system.slice/payments.service/x\n');
    expect(cgroup === undefined ? [] : [isIn(cgroup, 'payments.service'), isIn(cgroup, 'sshd.service')]).toEqual([
      true,
      false,
    ]);
  });
});

it('says of any path what stands in it, and takes nothing else for a path', () => {
  const name = fc.oneof(
    fc.constantFrom('a.service', 'system.slice', 'x\r1:name=systemd:', '\r0::', '0::', '_b.scope', ' ', '\u2028'),
    fc.string({ minLength: 1 }),
  );
  const names = fc.array(
    name.filter((each) => !/[/\n]/.test(each)),
    { minLength: 1, maxLength: 6 },
  );
  fc.assert(
    fc.property(names, fc.constantFrom('0::', '1:name=systemd:', '3:pids:/x\n1:name=systemd:'), (path, before) => {
      const found = namesIn(`${before}/${path.join('/')}\n`);
      if (found === undefined) expect(path.some(isUnit)).toBe(false);
      else
        expect(found).toEqual(
          path.map((each) => (each.startsWith('_') && isUnit(each.slice(1)) ? each.slice(1) : each)),
        );
    }),
    { numRuns: 2000 },
  );
});

describe('units of a user', () => {
  function userUnit(path: string, unit: string) {
    const cgroup = unitCgroupIn(`0::${path}\n`);
    return cgroup === undefined ? 'none' : userUnitIn(cgroup, unit);
  }

  it.each([
    [`${USER}/app.slice/notes.service`, { uid: '1000', unit: 'notes.service' }],
    [`${USER}/app.slice/app-a.slice/notes.service/below/it.service`, { uid: '1000', unit: 'notes.service' }],
    [`${USER}/init.scope`, { uid: '1000', unit: 'init.scope' }],
    [`${USER}/app.slice`, undefined],
    [`${USER}/anything`, undefined],
    [USER, undefined],
  ])('%s', (path, expected) => {
    expect(userUnit(path, 'user@1000.service')).toEqual(expected);
  });

  it('is none where the system has another unit, whatever stands below it', () => {
    expect(userUnit('/system.slice/a.service/user@0.service/b.service', 'a.service')).toBeUndefined();
  });

  it('is of the manager that the system has started, and not of one that the user has named so', () => {
    expect(userUnit(`${USER}/user@0.service/root.service`, 'user@1000.service')).toEqual({
      uid: '1000',
      unit: 'user@0.service',
    });
  });
});
