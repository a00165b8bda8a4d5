import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { lockFile } from '../../../../agent/peer/system/hardening.ts';
import { isRoot, Processes } from '../../../support/processes.ts';

const processes = new Processes();
afterAll(() => processes.clean());

describe('hardening', () => {
  test('takes the process’ memory away from others of its user, and its core files', async () => {
    const options = isRoot ? { uid: 65534, gid: 65534 } : {};
    const child = await processes.script(new URL('../../../support/hardened.ts', import.meta.url), [], options);
    expect(await child.line()).toBe('hardened');
    // What is not dumpable belongs to root in /proc.
    expect(statSync(`/proc/${child.pid}/environ`).uid).toBe(0);
    expect(statSync(`/proc/${child.pid}`).uid).toBe(isRoot ? 65534 : process.getuid?.());
    expect(readFileSync(`/proc/${child.pid}/limits`, 'utf8')).toMatch(/Max core file size\s+0\s+0\s/);
    child.process.stdin?.end();
    expect(await child.exited).toBe(0);
  });

  test('locks a file for one descriptor, until that is closed', () => {
    const path = join(processes.directory(), 'lock');
    const [one, other] = [openSync(path, 'w'), openSync(path, 'w')];
    expect(lockFile(one)).toBe(true);
    expect(lockFile(other)).toBe(false);
    closeSync(one);
    expect(lockFile(other)).toBe(true);
    closeSync(other);
    expect(() => lockFile(other)).toThrowError(expect.objectContaining({ code: 'EBADF' }));
  });
});
