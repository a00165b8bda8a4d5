import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { missingPrivileges } from '../../../agent/peer/privileges.ts';

const UNIT = join(import.meta.dirname, '../../../deploy/systemd/mayfly.service');
const HIGHEST_EXPOSURE = 3;

const analyze = (...args: readonly string[]) => spawnSync('systemd-analyze', args, { encoding: 'utf8' });

test('the service has exactly the capabilities that the agent needs', () => {
  const unit = readFileSync(UNIT, 'utf8');
  const needed = missingPrivileges('').map(({ name }) => name);
  for (const setting of ['AmbientCapabilities', 'CapabilityBoundingSet']) {
    expect(new RegExp(`^${setting}=(.*)$`, 'm').exec(unit)?.[1]?.split(' '), setting).toEqual(needed);
  }
});

describe.skipIf(analyze('--version').status !== 0)('the service (needs systemd-analyze)', () => {
  test('is as little exposed as it can be', () => {
    const { stdout, stderr } = analyze('security', '--offline=yes', '--no-pager', UNIT);
    // What systemd does not understand it ignores, and only says so.
    expect(stderr).toBe('');
    const exposure = /Overall exposure level for mayfly\.service: (\d+\.\d)/.exec(stdout)?.[1];
    expect(Number(exposure)).toBeLessThan(HIGHEST_EXPOSURE);
  });
});
