import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { containerIn } from '../../agent/attest/container/container-id.ts';
import { readText } from '../../agent/peer/system/proc.ts';
import { Daemon, mayfly } from '../support/daemon.ts';
import { entry, Home } from '../support/home.ts';
import { eventually } from '../support/json-lines.ts';
import { PodCgroups, UNIFIED } from '../support/pod-cgroups.ts';
import { Client } from './client.ts';
import { Contained } from './contained.ts';
import type { ContainerEngine } from './container-engine.ts';
import { containerRootfs } from './container-rootfs.ts';
import { commandOf, type Equipment, equipped, ROOT } from './equipment.ts';

const IMAGE = 'mayfly.test/client:1';
const OTHER_IMAGE = 'mayfly.test/other:1';
const WEB = ['--label', 'com.example.tier=web'];
const DB = ['--label', 'com.example.tier=db'];
const OUTSIDE = 4242;
// An engine with its images and containers, on a machine that does other things as well.
const HOOK_MS = 60_000;
const DENIED = 'code = PermissionDenied desc = no identity issued';
const UNKNOWN = 'code = Unavailable desc = workload attestation failed';
const id = (name: string): string => `spiffe://example.org/${name}`;

/** What workloads in the containers of an engine get, each a real process in a real container. */
export function theContainersOf(
  name: string,
  needs: readonly Equipment[],
  go: Equipment,
  start: () => Promise<ContainerEngine>,
): void {
  equipped(name, [...needs, go, ROOT], () => {
    let cgroups: PodCgroups;
    let daemon: Daemon;
    let directory: string;
    let engine: ContainerEngine;
    let home: Home;

    beforeAll(async () => {
      directory = mkdtempSync(join(tmpdir(), 'mayfly-containers-'));
      cgroups = new PodCgroups(UNIFIED ?? '');
      const [client] = commandOf(go);
      engine = await start();
      const archive = await containerRootfs(directory, { client });
      await engine.image(IMAGE, archive, ['LABEL com.example.made=here', 'ENV STAGE=test']);
      await engine.image(OTHER_IMAGE, archive, ['LABEL com.example.made=there']);
      const digest = await engine.cli(['image', 'inspect', '--format', '{{.Id}}', IMAGE]);
      const image = [`docker:image_id:${IMAGE}`, `docker:image_config_digest:sha256:${digest.replace('sha256:', '')}`];
      const entries = [
        entry('web', ['docker:label:com.example.tier:web']),
        entry('db', ['docker:label:com.example.tier:db', 'docker:label:com.example.made:here']),
        entry('image', [...image, 'docker:env:STAGE=test', 'docker:env:MINE=yes']),
        entry('outside', [`unix:uid:${OUTSIDE}`]),
      ];
      home = new Home(
        Object.fromEntries(entries.map((text, index) => [`${index}.yaml`, text])),
        `attestors: { ${engine.attestor}: { enabled: true, socket: ${engine.socket} } }`,
      );
      daemon = await Daemon.start(home);
    }, HOOK_MS);
    afterAll(async () => {
      await daemon[Symbol.asyncDispose]();
      await engine[Symbol.asyncDispose]();
      await cgroups[Symbol.asyncDispose]();
      home.remove();
      rmSync(directory, { recursive: true, force: true });
    }, HOOK_MS);

    function contained(named: string, args: readonly string[] = [], image = IMAGE): Promise<Contained> {
      return Contained.start(engine, directory, home.socket, { name: named, args, image });
    }
    function outside(): Client {
      return Client.start(go, home.socket, { uid: OUTSIDE, gid: OUTSIDE });
    }
    async function leasesIn(container: Contained) {
      return (await daemon.leases()).filter((lease) => lease.container?.id === container.id);
    }
    /** Once no lease of these is left. */
    function gone(container: Contained, keys: readonly string[]): Promise<true> {
      return eventually(`leases ${keys.join()} are over`, async () => {
        const left = (await leasesIn(container)).filter(({ id: key }) => keys.includes(key));
        return left.length === 0 ? true : undefined;
      });
    }
    /** What the attestor said when it could last not tell. */
    async function lastFailure(): Promise<string | undefined> {
      const { attestors } = await daemon.status();
      return attestors.find((each) => each.name === engine.attestor)?.lastFailure;
    }
    async function story(container: Contained): Promise<string> {
      const { stdout } = await mayfly(['audit', 'trace', container.id, '--data-dir', home.dataDir]);
      return stdout;
    }

    it('get the identity of their labels and image, and one that has others gets none', async () => {
      await using web = await contained('web-1', WEB);
      await using db = await contained('db-1', DB);
      await using image = await contained('image-1', ['--env', 'MINE=yes']);
      await using none = await contained('none-1', ['--label', 'com.example.tier=cache']);
      await using otherImage = await contained('db-2', DB, OTHER_IMAGE);
      expect((await web.client.ask('fetch')).id).toBe(id('web'));
      expect((await db.client.ask('fetch')).id).toBe(id('db'));
      expect((await image.client.ask('fetch')).id).toBe(id('image'));
      await expect(none.client.ask('fetch')).rejects.toThrow(DENIED);
      await expect(otherImage.client.ask('fetch')).rejects.toThrow(DENIED);
      const leases = await leasesIn(web);
      expect(leases.map(({ spiffeId, container }) => [spiffeId, container?.engine])).toEqual([
        [id('web'), engine.attestor],
      ]);
      expect(await leasesIn(none)).toEqual([]);
    });

    it('of the environment no more is written down than an entry asks for', async () => {
      await using image = await contained('image-2', ['--env', 'MINE=yes', '--env', 'PASSWORD=hunter2']);
      expect((await image.client.ask('fetch')).id).toBe(id('image'));
      const written = await story(image);
      expect(written).toContain('docker:env:MINE=yes');
      expect(written).not.toContain('hunter2');
    });

    it('lose it within a second when they are killed, and what they had is revoked', async () => {
      await using web = await contained('web-3', WEB);
      await using beside = await contained('web-4', WEB);
      await web.client.ask('fetch');
      await beside.client.ask('fetch');
      const keys = (await leasesIn(web)).map(({ id: key }) => key);
      await web.kill();
      const killed = performance.now();
      await gone(web, keys);
      expect(performance.now() - killed).toBeLessThan(1000);
      expect(await story(web)).toMatch(/revoked/);
      expect(await leasesIn(beside)).toHaveLength(1);
    });

    it('are another run after a restart, which has nothing of the one before', async () => {
      await using web = await contained('web-5', WEB);
      const before = await web.client.ask('fetch');
      const old = await leasesIn(web);
      await web.restart();
      await gone(
        web,
        old.map(({ id: key }) => key),
      );
      const after = await web.client.ask('fetch');
      expect(after.id).toBe(before.id);
      expect(after.chain[0]).not.toBe(before.chain[0]);
      const now = await leasesIn(web);
      expect(now).toHaveLength(1);
      expect(now[0]?.container?.started).not.toBe(old[0]?.container?.started);
    });

    it('keep what they have while the engine is away, in which nobody new in a container is served, and others are', async () => {
      await using web = await contained('web-6', WEB);
      await using late = await contained('web-7', WEB);
      await web.client.ask('watch');
      await web.client.update(0);
      const [lease] = await leasesIn(web);
      await engine.down();
      try {
        await expect(late.client.ask('fetch')).rejects.toThrow(UNKNOWN);
        await using other = outside();
        expect((await other.ask('fetch')).id).toBe(id('outside'));
        expect(await leasesIn(late)).toEqual([]);
      } finally {
        await engine.up();
      }
      expect((await late.client.ask('fetch')).id).toBe(id('web'));
      expect((await leasesIn(web)).map(({ id: key }) => key)).toEqual([lease?.id]);
      expect(web.client.of('ended')).toEqual([]);
      // Its end is noticed as before.
      await web.kill();
      await gone(web, [lease?.id ?? '']);
    });

    it('are what the engine says, whatever they say of themselves', async () => {
      await using web = await contained('web-8', WEB);
      await web.client.ask('fetch');
      const forged = ['--env', `HOSTNAME=${web.id.slice(0, 12)}`, '--hostname', web.id.slice(0, 12)];
      await using other = await contained('other-8', [...forged, '--label', `id=${web.id}`]);
      await expect(other.client.ask('fetch')).rejects.toThrow(DENIED);
    });

    it.runIf(UNIFIED !== undefined)('are not joined by a process that was there before them', async () => {
      await using mover = outside();
      await expect(mover.ask('load', { trustDomain: 'none', path: '/none' })).rejects.toThrow();
      await using web = await contained('web-9', WEB);
      expect((await web.client.ask('fetch')).id).toBe(id('web'));
      const cgroup = containerIn(readText(`/proc/${await web.pid()}/cgroup`) ?? '', undefined)?.cgroup ?? '';
      writeFileSync(join(UNIFIED ?? '', cgroup, 'cgroup.procs'), String(mover.pid));
      await expect(mover.ask('fetch')).rejects.toThrow(UNKNOWN);
      expect(await lastFailure()).toContain(
        `process ${mover.pid} is in container ${web.id} by its cgroup, but the process is older than the container`,
      );
      expect((await leasesIn(web)).map(({ pid }) => pid)).not.toContain(mover.pid);
    });

    it.runIf(UNIFIED !== undefined)('are not joined by a process in a cgroup that bears their name', async () => {
      await using web = await contained('web-10', WEB);
      await using forger = outside();
      await expect(forger.ask('load', { trustDomain: 'none', path: '/none' })).rejects.toThrow();
      const named = engine.attestor === 'docker' ? `docker-${web.id}.scope` : `libpod-${web.id}.scope`;
      const cgroup = `/forged-${process.pid}/${named}`;
      cgroups.enterPath(forger.pid, cgroup);
      await expect(forger.ask('fetch')).rejects.toThrow(UNKNOWN);
      const failure = await lastFailure();
      expect(failure).toContain(`process ${forger.pid} is in container ${web.id} by its cgroup, but its first process`);
      expect(failure).toContain(`and not in ${JSON.stringify(cgroup)}`);
    });
  });
}
