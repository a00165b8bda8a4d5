import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { besidesSlowness } from '../../support/warnings.ts';
import { equipped } from '../equipment.ts';
import { Guest } from './guest.ts';
import { entry, InstalledAgent, installation } from './installed-agent.ts';
import { AMD64 } from './machine.ts';

/** A user of the machine. */
const ANN = 1000;
const AS_ANN = `setpriv --reuid=${ANN} --regid=${ANN} --clear-groups env XDG_RUNTIME_DIR=/run/user/${ANN}`;
const FEDERATED = join(import.meta.dirname, '../../vectors/bundle/valid-of-other-org.json');

const HOLD = '/usr/local/bin/mayfly watch --json';
const UNITS = {
  'etc/systemd/system/payments.service': unit(HOLD, `User=${ANN}`),
  'etc/systemd/system/stranger.service': unit(HOLD, `User=${ANN}`),
  // What it starts outlives it.
  'etc/systemd/system/batch.service': unit(`/bin/sh -c '${HOLD} & exec sleep infinity'`, 'KillMode=process'),
  'etc/systemd/user/notes.service': unit(HOLD),
  'etc/systemd/user/payments.service': unit(HOLD),
};
const ENTRIES = [
  entry(
    'payments',
    'systemd:id:payments.service',
    'systemd:fragment_path:/etc/systemd/system/payments.service',
    'unix:path:/opt/mayfly/node',
  ),
  entry('batch', 'systemd:id:batch.service'),
  entry('notes', `systemd:user_unit:${ANN}:notes.service`, `unix:uid:${ANN}`),
  entry('of-home', 'unix:path:/home/ann/node'),
  entry('of-tmp', 'unix:path:/tmp/node'),
];

interface Status {
  readonly warnings: readonly string[];
  readonly peer: { readonly proof: string; readonly watch: string };
  readonly attestors: readonly { readonly name: string; readonly shortcomings: readonly string[] }[];
  readonly sources: readonly { readonly name: string; readonly error: string; readonly count: number }[];
}

// One after the other, on one machine that lives through all of it.
equipped('where systemd is process 1', [inject('guests').amd64], () => {
  let guest: Guest;
  let agent: InstalledAgent;

  beforeAll(async () => {
    guest = await Guest.start(AMD64, {
      ...UNITS,
      ...installation(AMD64, ENTRIES),
      'root/other.org.json': readFileSync(FEDERATED),
    });
    agent = new InstalledAgent(guest);
  });
  afterAll(() => guest[Symbol.asyncDispose]());

  const property = (name: string, of = 'mayfly') => guest.run(`systemctl show --value --property=${name} ${of}`);
  const directoryOfSockets = () => guest.run('stat --format=%i:%a:%U /run/mayfly');
  const ends = async (serial: string) => {
    const leases = await agent.trace(serial);
    return leases.flatMap((records) => records.slice(-2).map(({ type, reason }) => `${type} ${reason}`));
  };
  /** How often an agent has taken over the lease that a certificate belongs to. */
  const adoptions = async (serial: string) =>
    (await agent.trace(serial)).flat().filter(({ type }) => type === 'lease.adopted').length;

  test('the machine has cgroups of version 2 alone, and a kernel without SO_PEERPIDFD', async () => {
    expect(await guest.run('uname -r; cat /proc/1/comm; grep -o "cgroup.* cgroup[^ ]*" /proc/mounts')).toMatch(
      /^6\.1\.\S+\nsystemd\ncgroup2 \/sys\/fs\/cgroup cgroup2$/,
    );
  });

  test('the service is installed as the document says, and started when its sockets serve', async () => {
    const serving = `test -S /run/mayfly/api.sock && test -S /run/mayfly/admin.sock\n`;
    const said = await agent.install((script) => script.replace(/^mayfly status$/m, `${serving}mayfly status`));
    expect(said).toContain('example.org');
    expect(await property('ActiveState')).toBe('active');
    expect(await property('Type')).toBe('notify');
    expect(await property('StatusText')).toBe('serving identities');
    expect(await property('NRestarts')).toBe('0');
    expect(await guest.run('systemd-analyze verify mayfly.service')).toBe('');
  });

  test('the service is its own user with two capabilities, and shut in', async () => {
    const shows = '^(Uid|Cap(Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):';
    const pid = await property('MainPID');
    const uid = await guest.run('id --user mayfly');
    expect((await guest.run(`grep -E '${shows}' /proc/${pid}/status`)).split('\n')).toEqual([
      `Uid:\t${[uid, uid, uid, uid].join('\t')}`,
      ...['Prm', 'Eff', 'Bnd', 'Amb'].map((set) => `Cap${set}:\t0000000000080004`),
      'NoNewPrivs:\t1',
      'Seccomp:\t2',
    ]);
    expect(uid).not.toBe('0');
    const exposure = /level for mayfly\.service: (\d+\.\d)/.exec(await guest.run('systemd-analyze security mayfly'));
    expect(Number(exposure?.[1])).toBeLessThan(3);
  });

  test('the weaker mode is told of, and can be forbidden', async () => {
    const { warnings, peer } = await agent.asked<Status>('status');
    expect(besidesSlowness(warnings)).toEqual([expect.stringContaining('this kernel has no SO_PEERPIDFD')]);
    expect(peer.proof).toBe('start-time');
    expect(await guest.run('journalctl --unit=mayfly --output=cat')).toContain('"event":"peer.weaker"');
    const forbidden = await guest.try(
      'mayfly run --config /etc/mayfly/mayfly.yaml --data-dir /root/data --socket /root/a --admin-socket /root/b --set peer.require_pidfd=true',
    );
    expect(forbidden).toEqual({ code: 1, output: expect.stringContaining('peer.require_pidfd is set') });
  });

  test('a unit of the system is told by its name and its file', async () => {
    await guest.run(`cp entries.yaml /etc/mayfly/entries/
echo 'attestors: { systemd: { enabled: true } }' >> /etc/mayfly/mayfly.yaml
systemctl restart mayfly
systemctl start payments stranger batch`);
    const [lease, ...others] = await agent.leasesOf('payments');
    expect(others).toEqual([]);
    expect(lease?.unit).toEqual({ id: 'payments.service', invocation: await property('InvocationID', 'payments') });
    expect(String(lease?.pid)).toBe(await property('MainPID', 'payments'));
    const held = await guest.until('journalctl --unit=payments --output=cat', (said) => said.includes('"svids"'));
    expect(held).toContain(`"serial":"${lease?.serial}"`);
    const refused = 'journalctl --unit=stranger --output=cat';
    expect(await guest.until(refused, (said) => said.includes('no identity issued'))).not.toContain('"svids"');
  });

  test('a unit of a user is told from one of the system, whatever it is called', async () => {
    await guest.run(`systemctl start user@${ANN}
${AS_ANN} systemctl --user start notes payments`);
    const [lease] = await agent.leasesOf('notes');
    expect(lease?.unit).toEqual({
      id: `user@${ANN}.service`,
      invocation: await property('InvocationID', `user@${ANN}`),
    });
    const refused = 'journalctl _SYSTEMD_USER_UNIT=payments.service --output=cat';
    expect(await guest.until(refused, (said) => said.includes('no identity issued'))).not.toContain('"svids"');
    expect(await agent.leasesOf('payments')).toHaveLength(1);
  });

  test('nothing that the agent has to see is shut out', async () => {
    const { attestors, peer, warnings } = await agent.asked<Status>('status');
    // An emulated machine may be slow; what is shut out is told in other words.
    expect(attestors.map(({ name, shortcomings }) => [name, besidesSlowness(shortcomings)])).toEqual([
      ['unix', []],
      ['systemd', []],
    ]);
    const named = `mayfly attest "$(systemctl show --value --property=MainPID payments)"`;
    await guest.until(named, (said) => said.includes('unix:user:ann') && said.includes('unix:group:ann'));
    // No process in which an execve goes unnoticed.
    expect(besidesSlowness(warnings)).toEqual([expect.stringContaining('SO_PEERPIDFD')]);
    expect(peer.watch).toBe('looks');
    const fetch = (node: string) =>
      guest.try(`install -o ${ANN} /opt/mayfly/node ${node}
${AS_ANN} LD_LIBRARY_PATH=/opt/mayfly/lib ${node} /opt/mayfly/mayfly.mjs fetch x509`);
    expect((await fetch('/home/ann/node')).output).toContain('spiffe://example.org/of-home');
    // As the document says.
    expect(await fetch('/tmp/node')).toEqual({ code: 1, output: expect.stringContaining('no identity issued') });
  });

  test('a unit that is restarted loses what it had', async () => {
    const [before] = await agent.leasesOf('payments');
    await guest.run('systemctl restart payments');
    const [now, ...others] = await agent.leasesOf('payments');
    expect(others).toEqual([]);
    expect(now?.serial).not.toBe(before?.serial);
    expect(now?.unit?.invocation).toBe(await property('InvocationID', 'payments'));
    expect(now?.unit?.invocation).not.toBe(before?.unit?.invocation);
    expect(await ends(before?.serial ?? '')).toEqual(['svid.revoked cessationOfOperation', 'lease.ended exited']);
  });

  test('what outlives its unit keeps nothing of it', async () => {
    const [lease] = await agent.leasesOf('batch');
    await guest.run('systemctl stop batch');
    await agent.forgets('batch');
    expect(await guest.run(`cat /proc/${lease?.pid}/cgroup`)).toBe('0::/system.slice/batch.service');
    expect(await ends(lease?.serial ?? '')).toEqual(['svid.revoked cessationOfOperation', 'lease.ended unit-ended']);
  });

  test('an agent that hangs is killed and started again, and takes over who has an identity', async () => {
    const [before] = await agent.leasesOf('payments');
    const serial = before?.serial ?? '';
    const taken = await adoptions(serial);
    const sockets = await directoryOfSockets();
    await guest.run(`mkdir -p /etc/systemd/system/mayfly.service.d
printf '[Service]\\nWatchdogSec=15s\\n' > /etc/systemd/system/mayfly.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart mayfly
kill -STOP $(systemctl show --value --property=MainPID mayfly)`);
    await guest.until('systemctl show --value --property=NRestarts mayfly', (count) => count === '1');
    await guest.until('systemctl is-active mayfly', (state) => state === 'active');
    expect(await guest.run('journalctl --unit=mayfly --output=cat')).toContain('Watchdog timeout');
    expect(await directoryOfSockets()).toBe(sockets);
    const [now] = await agent.leasesOf('payments');
    expect(now).toMatchObject({ pid: before?.pid, unit: before?.unit });
    // By the agent that was to hang, and by the one after it. The workload may have got its next certificate meanwhile.
    expect(await adoptions(serial)).toBe(taken + 2);
    expect(await ends(serial)).not.toContain('svid.revoked cessationOfOperation');
  });

  test('a reload is over when all files have been read', async () => {
    await guest.run('echo nonsense >> /etc/mayfly/entries/entries.yaml; systemctl reload mayfly');
    expect(
      await guest.until('systemctl show --value --property=StatusText mayfly', (text) => text.includes('some')),
    ).toBe('serving identities; some files could not be read again, see mayfly status');
    await guest.run('cp entries.yaml /etc/mayfly/entries/; systemctl reload mayfly');
    await guest.until('systemctl show --value --property=StatusText mayfly', (text) => text === 'serving identities');
    expect(await property('ActiveState')).toBe('active');
  });

  test('a credential is read from where systemd hands it over, and the directory of sockets outlives a stop', async () => {
    const sockets = await directoryOfSockets();
    await guest.run(`install -m 600 other.org.json /etc/mayfly/secret
printf '[Service]\\nLoadCredential=other.org:/etc/mayfly/secret\\n' > /etc/systemd/system/mayfly.service.d/credential.conf
echo 'bundles: [ { trust_domain: other.org, file: $CREDENTIALS_DIRECTORY/other.org } ]' >> /etc/mayfly/mayfly.yaml
systemctl daemon-reload
systemctl stop mayfly`);
    expect(await directoryOfSockets()).toBe(sockets);
    expect(await guest.run('ls /run/mayfly')).toBe('');
    await guest.run('systemctl start mayfly');
    expect(await directoryOfSockets()).toBe(sockets);
    const { sources } = await agent.asked<Status>('status');
    expect(sources.at(-1)).toMatchObject({ name: 'bundle of other.org', error: '', count: 1 });
    const check = await guest.try('mayfly check --config /etc/mayfly/mayfly.yaml');
    expect(check).toEqual({ code: 1, output: expect.stringContaining('CREDENTIALS_DIRECTORY is not set') });
  });
});

function unit(exec: string, more = ''): string {
  return `[Unit]\nWants=mayfly.service\nAfter=mayfly.service\n[Service]\n${more}\nExecStart=${exec}\n`;
}
