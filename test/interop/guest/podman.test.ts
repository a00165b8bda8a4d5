import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { besidesSlowness } from '../../support/warnings.ts';
import { codeBlocks, readDocument } from '../../unit/docs/documents.ts';
import { equipped } from '../equipment.ts';
import { Guest } from './guest.ts';
import { entry, InstalledAgent, installation, type Lease } from './installed-agent.ts';
import { AMD64 } from './machine.ts';

/** Whose podman is believed. */
const ANN = 1000;
/** Whose is not. */
const BOB = 1001;
const UNKNOWN = 'workload attestation failed';
const IMAGE = 'mayfly.test/client:1';
// What is in the image needs the libraries of the machine, and finds the agent where it is on the machine.
const RUN = `run ${['/usr:/usr:ro', '/opt/mayfly:/opt/mayfly:ro', '/run/mayfly:/run/mayfly'].map((at) => `--volume ${at}`).join(' ')}`;
const CHANGES = [
  'ENV LD_LIBRARY_PATH=/opt/mayfly/lib',
  'ENTRYPOINT ["/opt/mayfly/node","/opt/mayfly/mayfly.mjs"]',
  'CMD ["watch","--json"]',
];
const FILES = {
  'etc/subuid': 'ann:100000:65536\nbob:200000:65536\n',
  'etc/subgid': 'ann:100000:65536\nbob:200000:65536\n',
  // The kernel has no file system for layers and no network.
  'etc/containers/storage.conf': '[storage]\ndriver = "vfs"\n',
  'etc/containers/containers.conf': '[containers]\nnetns = "none"\n',
  'etc/systemd/user/web.service': unit('web'),
  // Root's to start, and the user's to make cgroups in.
  'etc/systemd/system/batch.service': unit('batch', `User=${ANN}\nEnvironment=XDG_RUNTIME_DIR=/run/user/${ANN}`),
};
const ENTRIES = [
  entry('web', 'docker:label:tier:web', `docker:image_id:${IMAGE}`, `unix:uid:${ANN}`),
  entry('db', 'docker:label:tier:db'),
  entry('batch', 'docker:label:tier:batch', 'systemd:id:batch.service'),
];

// What the document says: for all podmans, for a user, and by himself.
const [STAYING = '', LINGERING = '', SERVING = ''] = codeBlocks(readDocument('docs/containers.md'), 'sh');

interface Inspection {
  readonly selectors: readonly string[];
  readonly container?: { readonly engine: string; readonly id: string };
}

interface Status {
  readonly attestors: readonly {
    readonly name: string;
    readonly last_failure: string;
    readonly shortcomings: readonly string[];
  }[];
}

// One after the other, on one machine that lives through all of it.
equipped("containers of users' own podman", [inject('guests').amd64], () => {
  let guest: Guest;
  let agent: InstalledAgent;

  beforeAll(async () => {
    const files = { ...FILES, ...installation(AMD64, ENTRIES) };
    guest = await Guest.start(AMD64, files, ['podman']);
    agent = new InstalledAgent(guest);
  });
  afterAll(() => guest[Symbol.asyncDispose]());

  const ann = (command: string) => guest.run(as('ann', ANN, command));
  const bob = (command: string) => guest.run(as('bob', BOB, command));
  /** Asks for an identity in a container of a user's that has a label. */
  const fetch = (user: string, uid: number, label: string) =>
    as(user, uid, `podman ${RUN} --rm --label ${label} ${IMAGE} fetch x509`);
  /** What it gets, once a podman that is slow to start answers. */
  const fetchedBy = (user: string, uid: number, label: string) =>
    guest.until(`{ ${fetch(user, uid, label)}\n} || true`, (output) => !output.includes(UNKNOWN));
  const importing = `podman import ${CHANGES.map((change) => `--change '${change}'`).join(' ')} /home/image.tar ${IMAGE}`;
  const idOf = (name: string) => ann(`podman inspect --format '{{.Id}}' ${name}`);
  /** The one lease of an identity, once there is one. */
  const leaseOf = async (name: string): Promise<Lease> => {
    const leases = await agent.leasesOf(name);
    expect(leases).toHaveLength(1);
    return leases[0]!;
  };
  const podman = async () => (await agent.asked<Status>('status')).attestors.find(({ name }) => name === 'podman');

  /** Once the user's podman tells of ends. */
  const followed = () => guest.until('mayfly status --json', (output) => !output.includes('goes unnoticed'));

  test('the agent runs before there is any of it', async () => {
    const configured = `cp entries.yaml /etc/mayfly/entries/
echo 'attestors: { podman: { enabled: true, rootless_users: [ ${ANN} ] }, systemd: { enabled: true } }' >> /etc/mayfly/mayfly.yaml
systemctl daemon-reload`;
    await agent.install((script) => script.replace('systemctl daemon-reload', configured));
    expect(besidesSlowness((await podman())?.shortcomings ?? [UNKNOWN])).toEqual([]);
    expect(await guest.run('ls /run/user')).toBe('');
  });

  test('a user sets his podman up as the document says', async () => {
    await guest.run(`${STAYING}\n${LINGERING}`);
    await guest.until(`test -S /run/user/${ANN}/bus && echo there`, (said) => said === 'there');
    await ann(SERVING);
    expect(await guest.run(`cd /run/user/${ANN} && stat --format=%a:%U . podman/podman.sock`)).toBe('700:ann\n666:ann');
    const reaches = await guest.try(as('bob', BOB, `test -e /run/user/${ANN}/podman/podman.sock`));
    expect(reaches.code).toBe(1);
  });

  test('a container is told by its labels and its image, whether a unit of the user runs it or his command line', async () => {
    await guest.run(`mkdir -p image/bin image/usr
cp /usr/bin/busybox image/bin/sh
ln -s usr/lib usr/lib64 image
tar -C image -cf /home/image.tar .`);
    await ann(importing);
    await ann(`systemctl --user start web
podman ${RUN} --name db --detach --label tier=db ${IMAGE}`);
    for (const [name, cgroup] of [
      ['web', 'app.slice/web.service/libpod-payload-'],
      ['db', 'user.slice/libpod-'],
    ] as const) {
      const id = await idOf(name);
      const lease = await leaseOf(name);
      expect(lease.container).toMatchObject({ engine: `podman-${ANN}`, id });
      expect(lease.unit?.id).toBe(`user@${ANN}.service`);
      expect(await guest.run(`cat /proc/${lease.pid}/cgroup`)).toContain(
        `/user.slice/user-${ANN}.slice/user@${ANN}.service/${cgroup}${id}`,
      );
      const { container, selectors } = await agent.asked<Inspection>(`attest ${lease.pid}`);
      expect(container).toEqual(lease.container);
      expect(selectors).toContain(`docker:label:tier:${name}`);
      expect(selectors).toContain(`unix:uid:${ANN}`);
    }
    await followed();
  });

  test('a unit of the system that runs as the user has containers of his, too', async () => {
    await guest.run('systemctl start batch');
    const { container, pid, unit: of } = await leaseOf('batch');
    expect(container?.engine).toBe(`podman-${ANN}`);
    expect(of?.id).toBe('batch.service');
    expect(await guest.run(`cat /proc/${pid}/cgroup`)).toBe(
      `0::/system.slice/batch.service/libpod-payload-${container?.id}`,
    );
    await guest.run('systemctl stop batch');
    await agent.forgets('batch');
  });

  test('a container with other labels gets nothing, and neither does any of a user whose podman is not believed', async () => {
    // Its own ids would mislead whoever reads it.
    const refused = /no identity issued: .*with ids that it cannot tell in its user namespace/;
    expect(await fetchedBy('ann', ANN, 'tier=cache')).toMatch(refused);
    await guest.run('loginctl enable-linger bob');
    await guest.until(`test -S /run/user/${BOB}/bus && echo there`, (said) => said === 'there');
    await bob(importing);
    await bob('systemctl --user enable --now podman.socket');
    expect(await fetchedBy('bob', BOB, 'tier=db')).toMatch(refused);
  });

  test('a cgroup that is named like that of a container proves nothing', async () => {
    const name = `libpod-${await idOf('db')}.scope`;
    /** From a cgroup of that name below a user's own manager, where he makes what he likes. */
    const forgedBy = (user: string, uid: number) => {
      const cgroup = `/sys/fs/cgroup/user.slice/user-${uid}.slice/user@${uid}.service/app.slice/${name}`;
      const forge = `mkdir ${cgroup}; echo 0 > ${cgroup}/cgroup.procs; exec mayfly fetch x509`;
      return guest.try(as(user, uid, `systemd-run --user --quiet --wait --pipe bash -euc '${forge}'`));
    };
    expect(await forgedBy('bob', BOB)).toEqual({ code: 1, output: expect.stringContaining('no identity issued') });
    expect(await forgedBy('ann', ANN)).toEqual({
      code: 1,
      output: expect.stringContaining(UNKNOWN),
    });
    expect((await podman())?.last_failure).toContain(`app.slice/${name}`);
  });

  test('an agent that is started again takes over who is in a container, and one that is killed is revoked', async () => {
    const before = await leaseOf('web');
    await guest.run('systemctl restart mayfly');
    expect((await leaseOf('web')).pid).toBe(before.pid);
    await followed();
    await ann('podman kill web');
    await agent.forgets('web');
    const records = (await agent.trace(before.serial)).flat().map(({ type, reason }) => `${type} ${reason}`);
    expect(records.filter((record) => record.startsWith('lease.adopted'))).toHaveLength(1);
    expect(records).toContain('svid.revoked cessationOfOperation');
    expect(records.at(-1)).toMatch(/^lease\.ended (exited|container-ended)$/);
    expect((await leaseOf('db')).container?.engine).toBe(`podman-${ANN}`);
  });

  test('a user who comes again is reached again', async () => {
    await guest.run('loginctl disable-linger ann; loginctl terminate-user ann');
    await guest.until(`test -e /run/user/${ANN} || echo gone`, (said) => said === 'gone');
    await agent.forgets('db');
    await guest.run(LINGERING);
    await guest.until(
      `cd /run/user/${ANN} && test -S podman/podman.sock -a -S bus && echo there`,
      (said) => said === 'there',
    );
    expect(await fetchedBy('ann', ANN, 'tier=web')).toContain('spiffe://example.org/web');
  });

  test('a socket that only its user may write to is told of, and takes one capability more', async () => {
    await ann(`rm .config/systemd/user/podman.socket.d/mayfly.conf
systemctl --user daemon-reload
systemctl --user restart podman.socket`);
    const refused = await guest.try(fetch('ann', ANN, 'tier=web'));
    expect(refused).toEqual({ code: 1, output: expect.stringContaining(UNKNOWN) });
    expect((await podman())?.last_failure).toContain('the agent may not connect to it');
    await guest.run(`mkdir -p /etc/systemd/system/mayfly.service.d
printf '[Service]\\nAmbientCapabilities=CAP_DAC_OVERRIDE\\nCapabilityBoundingSet=CAP_DAC_OVERRIDE\\n' > /etc/systemd/system/mayfly.service.d/podman.conf
systemctl daemon-reload
systemctl restart mayfly`);
    expect(await fetchedBy('ann', ANN, 'tier=web')).toContain('spiffe://example.org/web');
  });
});

/** A script that a user runs. */
function as(name: string, uid: number, script: string): string {
  return `cd /home/${name}
setpriv --reuid=${uid} --regid=${uid} --clear-groups env HOME=/home/${name} XDG_RUNTIME_DIR=/run/user/${uid} bash -euo pipefail <<'script'
${script}
script`;
}

/** A unit with a container, in the form that is made for podman's under systemd. */
function unit(name: string, more = ''): string {
  return `[Service]
Type=notify
NotifyAccess=all
Delegate=yes
${more}
ExecStart=/usr/bin/podman ${RUN} --name ${name} --cgroups=split --sdnotify=conmon --detach --label tier=${name} ${IMAGE}
`;
}
