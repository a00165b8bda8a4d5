import { existsSync, realpathSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Daemon, MAIN, nobodyRuns } from '../support/daemon.ts';
import { entry, Home } from '../support/home.ts';
import { eventually } from '../support/json-lines.ts';
import { besidesSlowness } from '../support/warnings.ts';
import { WorkloadClient } from '../support/workload-client.ts';

const SETPRIV = '/usr/bin/setpriv';
// The agent's own user, and one whose processes it serves.
const AGENT = 64_123;
const OTHER = 64_124;
const NEEDED = ['sys_ptrace', 'dac_read_search'] as const;
const PROGRAM = realpathSync(process.execPath);

describe.skipIf(!nobodyRuns() || !existsSync(SETPRIV))('an agent of its own user (needs root, setpriv)', () => {
  /** Starts it with these capabilities and no way to get more. */
  async function started(capabilities: readonly string[]): Promise<{ readonly home: Home; readonly daemon: Daemon }> {
    const home = new Home(
      {
        'root.yaml': entry('root', ['unix:uid:0', `unix:path:${PROGRAM}`]),
        'other.yaml': entry('other', [`unix:uid:${OTHER}`, `unix:path:${PROGRAM}`]),
      },
      'attestors: { unix: { sha256: true } }',
    );
    home.give(AGENT);
    const set = ['-all', ...capabilities.map((name) => `+${name}`)].join();
    const program = [
      SETPRIV,
      `--reuid=${AGENT}`,
      `--regid=${AGENT}`,
      '--clear-groups',
      '--no-new-privs',
      `--inh-caps=${set}`,
      `--ambient-caps=${set}`,
      `--bounding-set=${set}`,
      process.execPath,
      MAIN,
    ] as const;
    return { home, daemon: await Daemon.start(home, { program }) };
  }

  const endedBy = (daemon: Daemon, reason: string) =>
    eventually(`an end by ${reason}`, async () => {
      const { leases } = await daemon.status();
      return Number(leases?.ended[reason] ?? 0) === 1 ? true : undefined;
    });

  test('does all of its work with the two capabilities that it needs', async () => {
    const { home, daemon: made } = await started(NEEDED);
    await using daemon = made;
    {
      await using root = new WorkloadClient(home.socket);
      await using other = new WorkloadClient(home.socket, OTHER);
      await using third = new WorkloadClient(home.socket);
      expect((await root.x509()).ids).toEqual(['spiffe://example.org/root']);
      expect((await other.x509()).ids).toEqual(['spiffe://example.org/other']);
      await third.x509();
      other.send('exec');
      await endedBy(daemon, 'executed');
      root.send('unshare');
      await endedBy(daemon, 'changed-namespace');
      third.kill();
      await endedBy(daemon, 'exited');
      const { attestors, warnings } = await daemon.status();
      expect(besidesSlowness(warnings)).toEqual([]);
      expect(besidesSlowness(attestors.flatMap(({ shortcomings }) => shortcomings))).toEqual([]);
    }
    expect(daemon.log.all.filter(({ level }) => level !== 'info')).toEqual([]);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    home.remove();
  });

  test('names what it may not look into without CAP_SYS_PTRACE', async () => {
    const { home, daemon: made } = await started(['dac_read_search']);
    await using daemon = made;
    expect(await daemon.logged('privilege.missing')).toMatchObject({ level: 'warn', privilege: 'CAP_SYS_PTRACE' });
    await using other = new WorkloadClient(home.socket, OTHER);
    await expect(other.x509()).rejects.toThrow('PERMISSION_DENIED no identity issued');
    const { attestors, warnings } = await daemon.status();
    expect(besidesSlowness(warnings)).toEqual([
      expect.stringMatching(/^CAP_SYS_PTRACE is missing: .*no unix:path/),
      expect.stringMatching(/^an execve goes unnoticed in 1 of 1 processes/),
      expect.stringMatching(/^a change of namespaces goes unnoticed in 1 of 1 processes/),
    ]);
    expect(besidesSlowness(attestors[0]?.shortcomings ?? [])).toEqual([
      expect.stringContaining('may not be read, unix:path'),
    ]);
    home.remove();
  });

  test('names what goes unnoticed without CAP_DAC_READ_SEARCH', async () => {
    const { home, daemon: made } = await started(['sys_ptrace']);
    await using daemon = made;
    expect(await daemon.logged('privilege.missing')).toMatchObject({ level: 'warn', privilege: 'CAP_DAC_READ_SEARCH' });
    await using other = new WorkloadClient(home.socket, OTHER);
    expect((await other.x509()).ids).toEqual(['spiffe://example.org/other']);
    const { warnings } = await daemon.status();
    expect(besidesSlowness(warnings)).toEqual([
      expect.stringMatching(/^CAP_DAC_READ_SEARCH is missing: .*execute another program goes unnoticed/),
      expect.stringMatching(/^an execve goes unnoticed in 1 of 1 processes/),
    ]);
    home.remove();
  });
});
