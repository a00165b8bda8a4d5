import { describe, expect, test } from 'vitest';
import { cgroupIn, isMoved } from '../../../../agent/peer/system/cgroups.ts';

describe('the cgroup in a text of /proc/<pid>/cgroup', () => {
  test.each([
    ['0::/system.slice/web.service\n', '/system.slice/web.service'],
    ['0::/\n', '/'],
    ['1:name=systemd:/x\n0::/web\n', '/web'],
    ['2:cpu,cpuacct:/b\n1:name=systemd:/a\n0::/\n', ':/\ncpu,cpuacct:/b\nname=systemd:/a'],
    ['2:pids:/a:b\n1:cpu:/\n', 'cpu:/\npids:/a:b'],
    ['0::/user.slice/x\ry\n', '/user.slice/x\ry'],
    ['0::/user.slice/x\r0::/system.slice\n', '/user.slice/x\r0::/system.slice'],
    ['', undefined],
    ['nonsense\n', undefined],
  ])('%j is %j', (text, cgroup) => {
    expect(cgroupIn(text)).toBe(cgroup);
  });

  test('has changed when one that both have is another', () => {
    expect(isMoved('1:pids:/a\n0::/\n', '1:pids:/b\n0::/\n')).toBe(true);
    expect(isMoved('1:pids:/a\n0::/\n', '1:pids:/a\n0::/x\n')).toBe(true);
    expect(isMoved('1:pids:/a\n0::/\n', '1:pids:/a/x\ry\n0::/\n')).toBe(true);
  });

  test('has not changed when a hierarchy was mounted, unmounted or numbered anew', () => {
    expect(isMoved('0::/\n', '1:pids:/a\n0::/\n')).toBe(false);
    expect(isMoved('1:pids:/a\n0::/\n', '0::/\n')).toBe(false);
    expect(isMoved('1:pids:/a\n0::/\n', '7:pids:/a\n0::/\n')).toBe(false);
  });
});
