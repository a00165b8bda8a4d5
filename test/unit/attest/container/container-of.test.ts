import { chownSync, copyFileSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { containerOf, tenantOf } from '../../../../agent/attest/container/container-of.ts';
import { livingInstance } from '../../../support/instance.ts';
import { PodCgroups, UNIFIED } from '../../../support/pod-cgroups.ts';
import { READY, startWorkload, type Workload } from '../../../support/workload.ts';

const OWN = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
const SHELL = realpathSync('/bin/sh');
const MINE = '09bc3d7ade839efec32b6bec4ec79d099027a668ddba043083ec21d3c3b8f1e6';
const OTHERS = '93529524695bb00d91c1f6dba692ea8d3550c3b94fb2463af7bc9ec82f992d26';
const POD = 'a2830d0d-b0f0-4ff0-81b5-0ee4e299cf80';

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

/** A process that claims to be in another container by everything that it can choose: its name, arguments, environment and folder. */
async function forger(): Promise<Workload> {
  const directory = mkdtempSync(join(realpathSync(tmpdir()), `docker-${OTHERS}.scope-`));
  closing.push(() => rmSync(directory, { recursive: true }));
  const program = join(directory, '\r0::docker-93');
  copyFileSync(SHELL, program);
  const path = `/docker/${OTHERS}`;
  const env = { HOSTNAME: OTHERS.slice(0, 12), CONTAINER_ID: OTHERS, container: 'docker', CGROUP: `0::${path}` };
  const started = await startWorkload(program, ['-c', READY, `0::${path}`, `\n0::${path}\n`], OWN, {
    env,
    cwd: directory,
  });
  closing.push(() => started.stop());
  expect(readFileSync(`/proc/${started.pid}/status`, 'latin1')).toContain('\r0::docker-93');
  return started;
}

it('is not what a process says of itself', async () => {
  const { instance } = await forger();
  expect(containerOf(instance)?.id).not.toBe(OTHERS);
  expect(containerOf(instance)).toEqual(containerOf({ ...livingInstance(), pid: process.pid }));
});

it.skipIf(UNIFIED === undefined)('is where it was put, whatever it says (needs root and cgroup2)', async () => {
  const { instance, pid } = await forger();
  const cgroups = new PodCgroups(UNIFIED ?? '');
  closing.unshift(() => cgroups[Symbol.asyncDispose]());
  cgroups.enter(pid, POD, MINE);
  const cgroup = cgroups.pathOf(POD, MINE);
  expect(containerOf(instance)).toEqual({ engine: 'unknown', id: MINE, podUid: POD, owner: undefined, cgroup });
  expect(tenantOf({ pid, uid: 0 })).toBe(`pod ${POD}`);
});

it.skipIf(UNIFIED === undefined)(
  'is not believed of a process that has mounted the cgroup of another, behind however many others (needs root and cgroup2)',
  async () => {
    const other = await forger();
    const cgroups = new PodCgroups(UNIFIED ?? '');
    closing.unshift(() => cgroups[Symbol.asyncDispose]());
    cgroups.enter(other.pid, POD, OTHERS);
    const directory = mkdtempSync(join(realpathSync(tmpdir()), 'mayfly-mounts-'));
    closing.push(() => rmSync(directory, { recursive: true }));
    const others = join(UNIFIED ?? '', cgroups.pathOf(POD, OTHERS));
    const script = `${READY}
      for each in $(seq 100); do mount -t tmpfs none ${directory}; done; echo many; read line
      mount --bind ${others} ${directory}; ${READY}`;
    const process = await startWorkload('unshare', ['--mount', SHELL, '-c', script], OWN);
    closing.push(() => process.stop());
    cgroups.enter(process.pid, POD, MINE);
    process.tell('go on');
    expect(await process.says()).toBe('many');
    expect(containerOf(process)?.id).toBe(MINE);
    process.tell('go on');
    expect(await process.says()).toBe('ready');
    expect(() => containerOf(process)).toThrow(/is not what the process has mounted/);
  },
);

it.skipIf(UNIFIED === undefined)(
  "is its user's where a unit has given him the cgroup above it (needs root and cgroup2)",
  async () => {
    const { instance, pid } = await forger();
    const root = UNIFIED ?? '';
    const cgroups = new PodCgroups(root);
    closing.unshift(() => cgroups[Symbol.asyncDispose]());
    const cgroup = `/web-${process.pid}.service/libpod-payload-${MINE}`;
    cgroups.enterPath(pid, cgroup);
    // An engine of root's gives a container's own cgroup to whom it likes.
    chownSync(join(root, cgroup), 4242, 4242);
    expect(containerOf(instance, root)).toMatchObject({ engine: 'podman', cgroup, owner: undefined });
    expect(tenantOf({ pid, uid: 4242 }, root)).toBe(`container ${MINE}`);
    chownSync(join(root, dirname(cgroup)), 4242, 4242);
    expect(containerOf(instance, root)).toMatchObject({ engine: 'podman', cgroup, owner: 4242 });
    expect(tenantOf({ pid, uid: 4242 }, root)).toBe('uid 4242');
    // What the agent does not see of the hierarchy says nothing.
    expect(containerOf(instance, '/nowhere')).toMatchObject({ cgroup, owner: undefined });
  },
);

it('cannot be told of a process that procfs does not show, who is counted with his user', () => {
  // Above any pid.
  expect(tenantOf({ pid: 2 ** 30, uid: 7 })).toBe('uid 7');
  expect(() => containerOf({ ...livingInstance(), pid: 2 ** 30 })).toThrow('cannot be read');
});
