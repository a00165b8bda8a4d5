import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { besidesSlowness } from '../../support/warnings.ts';
import { equipped } from '../equipment.ts';
import { Guest } from './guest.ts';
import { entry, InstalledAgent, installation, type Lease } from './installed-agent.ts';
import { ARM64 } from './machine.ts';

const EXECUTES = 'usr/local/lib/executes.mjs';
const FILES = {
  [EXECUTES]: `process.on('SIGUSR2', () => process.execve('/usr/bin/sleep', ['sleep', 'infinity'], process.env));\n`,
  'etc/systemd/system/payments.service': unit(),
  'etc/systemd/system/changing.service': unit(`--import /${EXECUTES}`),
  'etc/systemd/system/stranger.service': unit(),
};
const ENTRIES = ['payments', 'changing'].map((name) =>
  entry(name, `systemd:id:${name}.service`, 'unix:path:/opt/mayfly/node', 'unix:uid:1000'),
);

interface Status {
  readonly warnings: readonly string[];
  readonly peer: { readonly proof: string; readonly watch: string };
}

// One after the other, on one machine that lives through all of it. Each command takes seconds there, so there are few.
equipped('on arm64, where the kernel tells all that the agent can use', [inject('guests').arm64], () => {
  let guest: Guest;
  let agent: InstalledAgent;
  let killed: Lease;
  let changed: Lease;

  beforeAll(async () => {
    guest = await Guest.start(ARM64, { ...FILES, ...installation(ARM64, ENTRIES) });
    agent = new InstalledAgent(guest);
  });
  afterAll(() => guest[Symbol.asyncDispose]());

  const property = (name: string, of: string) => guest.run(`systemctl show --value --property=${name} ${of}`);
  /** The lease that a unit's process has, and nobody else. */
  const leaseOf = async (name: string): Promise<Lease> => {
    const leases = await agent.leasesOf(name);
    expect(leases).toMatchObject([{ pid: Number(await property('MainPID', name)), unit: { id: `${name}.service` } }]);
    return leases[0]!;
  };
  const endOf = async ({ serial }: Lease) =>
    (await agent.traceOfEnd(serial)).flatMap((records) =>
      records.slice(-2).map(({ type, reason }) => `${type} ${reason}`),
    );

  test('the service starts, and knows callers by pidfds and what they become by the process connector', async () => {
    const configured = `cp entries.yaml /etc/mayfly/entries/
echo 'attestors: { systemd: { enabled: true } }' >> /etc/mayfly/mayfly.yaml
systemctl daemon-reload`;
    const said = await agent.install((script) => script.replace('systemctl daemon-reload', configured));
    expect(said).toContain('example.org');
    expect(await guest.run('uname -m')).toBe('aarch64');
    expect(await property('Type', 'mayfly')).toBe('notify');
    expect(await property('NRestarts', 'mayfly')).toBe('0');
    const { peer, warnings } = await agent.asked<Status>('status');
    expect(peer).toMatchObject({ proof: 'pidfd', watch: 'process-connector' });
    expect(besidesSlowness(warnings)).toEqual([]);
  });

  test('a unit gets its identity, and another one none', async () => {
    await guest.run('systemctl start payments changing stranger');
    killed = await leaseOf('payments');
    changed = await leaseOf('changing');
    const refused = 'journalctl --unit=stranger --output=cat';
    expect(await guest.until(refused, (said) => said.includes('no identity issued'))).not.toContain('"svids"');
  });

  test('an agent that is started again takes over who has one', async () => {
    await guest.run('systemctl restart mayfly');
    expect((await leaseOf('payments')).pid).toBe(killed.pid);
    // Of the same lease, which the first certificate belongs to.
    const [records = []] = await agent.trace(killed.serial);
    expect(records.map(({ type }) => type)).toContain('lease.adopted');
  });

  test('a process that is killed has lost it', async () => {
    await guest.run(`kill -KILL ${killed.pid}`);
    expect(await endOf(killed)).toEqual(['svid.revoked cessationOfOperation', 'lease.ended exited']);
  });

  test('a process that executes another program has lost it', async () => {
    await guest.run(`kill -USR2 ${changed.pid}`);
    expect(await endOf(changed)).toEqual(['svid.revoked cessationOfOperation', 'lease.ended executed']);
    expect(await guest.run(`cat /proc/${changed.pid}/comm`)).toBe('sleep');
  });
});

function unit(options = ''): string {
  const exec = `/opt/mayfly/node ${options} /opt/mayfly/mayfly.mjs watch --json`;
  return `[Service]\nUser=ann\nEnvironment=LD_LIBRARY_PATH=/opt/mayfly/lib\nExecStart=${exec}\n`;
}
