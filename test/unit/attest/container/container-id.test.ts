import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { containerIn } from '../../../../agent/attest/container/container-id.ts';
import { isMayflyError } from '../../../../agent/kernel/errors.ts';

const CID = '09bc3d7ade839efec32b6bec4ec79d099027a668ddba043083ec21d3c3b8f1e6';
const OTHER = '93529524695bb00d91c1f6dba692ea8d3550c3b94fb2463af7bc9ec82f992d26';
const UID = 'a2830d0d-b0f0-4ff0-81b5-0ee4e299cf80';
const UID_ = UID.replaceAll('-', '_');
const STATIC = '0d5fab32a8e35b0f8b1f1b0a1e1e6f0c';
const USER = '/user.slice/user-1000.slice/user@1000.service';

const v2 = (path: string): string => `0::${path}\n`;
const v1 = (path: string): string => `12:pids:${path}\n4:cpu,cpuacct:${path}\n1:name=systemd:${path}\n`;
const hybrid = (path: string): string => `${v1(path)}0::/\n`;
const mount = (root: string, type = 'cgroup2'): string =>
  `611 600 0:26 / / rw - overlay overlay rw\n612 611 0:27 ${root} /sys/fs/cgroup ro,nosuid master:4 - ${type} cgroup rw\n`;

// The path of a process' cgroup, and the container that it is in: engine, id, uid of the pod, user.
const PLACES: [path: string, engine: string, podUid?: string | undefined, owner?: number][] = [
  // Docker: cgroupfs, systemd, a parent of one's own, as ECS has it, and what is below in a container with systemd.
  [`/docker/${CID}`, 'docker'],
  [`/system.slice/docker-${CID}.scope`, 'docker'],
  [`/batch.slice/batch-night.slice/docker-${CID}.scope/init.scope`, 'docker'],
  [`/system.slice/docker-${CID}.scope/system.slice/nginx.service`, 'docker'],
  [`/ecs/0123abcd/${CID}`, 'unknown'],
  [`/system.slice/system.slice:docker:${CID}`, 'docker'],
  // Podman: cgroupfs, systemd, in a pod, below a unit, with the cgroup that crun adds.
  [`/libpod_parent/libpod-${CID}`, 'podman'],
  [`/libpod_parent/${OTHER}/libpod-${CID}`, 'podman'],
  [`/machine.slice/libpod-${CID}.scope/container`, 'podman'],
  [`/machine.slice/machine-libpod_pod_${OTHER}.slice/libpod-${CID}.scope`, 'podman'],
  [`/system.slice/shop.service/libpod-payload-${CID}`, 'podman'],
  // Kubernetes: every class and driver, with a cgroup root of its own, and the runtime asked for the wrong driver.
  [`/kubepods/burstable/pod${UID}/${CID}`, 'unknown', UID],
  [`/kubepods/besteffort/pod${UID}/${CID}`, 'unknown', UID],
  [`/kubepods/pod${UID}/${CID}`, 'unknown', UID],
  [`/kubepods/burstable/pod${STATIC}/${CID}`, 'unknown', STATIC],
  [`/kubepods/besteffort/pod${UID}/crio-${CID}`, 'cri-o', UID],
  [`/kubelet/kubepods/besteffort/pod${UID}/${CID}`, 'unknown', UID],
  [
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UID_}.slice/cri-containerd-${CID}.scope`,
    'containerd',
    UID,
  ],
  [`/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${UID_}.slice/crio-${CID}.scope`, 'cri-o', UID],
  [`/kubepods.slice/kubepods-pod${UID_}.slice/cri-containerd-${CID}.scope/init.scope`, 'containerd', UID],
  [`/kubepods.slice/kubepods-pod${STATIC}.slice/docker-${CID}.scope`, 'docker', STATIC],
  [
    `/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod${UID_}.slice/cri-containerd-${CID}.scope`,
    'containerd',
    UID,
  ],
  [`/kubepods-burstable-pod${UID_}.slice:cri-containerd:${CID}`, 'containerd', UID],
  [`/system.slice/containerd.service/kubepods-besteffort-pod${UID_}.slice:cri-containerd:${CID}`, 'containerd', UID],
  // The agent in a pod or a container, in a cgroup namespace of its own.
  [`/../../../burstable/pod${UID}/${CID}`, 'unknown', UID],
  [`/../../pod${UID}/${CID}`, 'unknown', UID],
  [`/../${CID}`, 'unknown'],
  [
    `/../../../kubepods-burstable.slice/kubepods-burstable-pod${UID_}.slice/cri-containerd-${CID}.scope`,
    'containerd',
    UID,
  ],
  [`/../../kubepods-pod${UID_}.slice/crio-${CID}.scope`, 'cri-o', UID],
  [`/../crio-${CID}.scope`, 'cri-o'],
  [`/../docker-${CID}.scope`, 'docker'],
  [`/../../kubepods.slice/kubepods-pod${UID_}.slice/cri-containerd-${CID}.scope`, 'containerd', UID],
  [`/../../docker/${CID}`, 'docker'],
  // An engine in a container: the outer engine's container, whoever named the inner one.
  [`/docker/${CID}/docker/${OTHER}`, 'docker'],
  [`/docker/${CID}/kubelet/kubepods/besteffort/pod${UID}/${OTHER}`, 'docker'],
  [`/system.slice/docker-${CID}.scope/system.slice/docker-${OTHER}.scope`, 'docker'],
  [`/kubepods/pod${UID}/${CID}/kubepods/pod${STATIC}/${OTHER}`, 'unknown', UID],
  // Without root: the tree is the user's, and so is every name in it.
  [`${USER}/user.slice/docker-${CID}.scope`, 'docker', undefined, 1000],
  [`${USER}/user.slice/libpod-${CID}.scope/container`, 'podman', undefined, 1000],
  [`${USER}/docker/${CID}`, 'docker', undefined, 1000],
  [`${USER}/k3s/kubepods/pod${UID}/${CID}`, 'unknown', undefined, 1000],
  [`${USER}/user@0.service/docker-${CID}.scope`, 'docker', undefined, 1000],
  [`/../../user.slice/user-7.slice/user@7.service/app.slice/docker-${CID}.scope`, 'docker', undefined, 7],
  // Root's own manager delegates to root.
  [`/user.slice/user-0.slice/user@0.service/user.slice/libpod-${CID}.scope`, 'podman'],
];

it.each(PLACES)('%s', (path, engine, podUid, owner) => {
  const cgroup = path.slice(0, path.indexOf(CID) + CID.length + (path.includes(`${CID}.scope`) ? '.scope'.length : 0));
  for (const write of [v1, v2, hybrid]) {
    expect(containerIn(write(path), undefined)).toEqual({ engine, id: CID, podUid, owner, cgroup });
  }
});

it.each([
  '/',
  '/..',
  '/../..',
  '/init.scope',
  '/system.slice/mayfly.service',
  '/../../../../system.slice/sshd.service',
  `${USER}/app.slice/app-org.gnome.Terminal.slice/vte-spawn-${UID}.scope`,
  // What an engine starts for itself, and what only has an id of the same form.
  `/machine.slice/libpod-conmon-${CID}.scope`,
  `/system.slice/crio-conmon-${CID}.scope`,
  '/libpod_parent/conmon',
  `/libpod_parent/${CID}`,
  `/machine.slice/machine-libpod_pod_${CID}.slice/supervisor`,
  '/docker/buildkit/0hyo0j6wt8ywc9bs5m6m3qk0r',
  `/kubepods/burstable/pod${UID}`,
  `/kubepods/pod${UID}/kata_overhead`,
  '/docker',
  // Not what an engine writes.
  `/docker/${CID.toUpperCase()}`,
  `/docker/${CID}0`,
  `/docker/${CID.slice(1)}`,
  `/docker/${CID} (deleted)`,
  `/system.slice/x-docker-${CID}.scope`,
])('%s is in no container', (path) => {
  for (const write of [v1, v2, hybrid]) expect(containerIn(write(path), mount(`/docker/${OTHER}`))).toBeUndefined();
});

it('finds no container where there are no cgroups', () => {
  expect(containerIn('', undefined)).toBeUndefined();
});

it.each([
  ['a pod below a service', v2(`/system.slice/shop.service/kubepods/pod${UID}/${CID}`)],
  ['a pod in a folder of somebody', v2(`/shop/kubepods/burstable/pod${UID}/${CID}`)],
  ['a pod without anything of the kubelet', v2(`/pod${UID}/${CID}`)],
  ['a class that is none', v2(`/kubepods/guaranteed/pod${UID}/${CID}`)],
  ['a slice that is not where systemd puts it', v2(`/kubepods-pod${UID_}.slice/cri-containerd-${CID}.scope`)],
  ['a slice below another', v2(`/system.slice/kubepods.slice/kubepods-pod${UID_}.slice/crio-${CID}.scope`)],
  ['a slice below a service', v2(`/system.slice/a.service/kubepods.slice/kubepods-pod${UID_}.slice/crio-${CID}.scope`)],
  ['a name for systemd below a service', v2(`/system.slice/a.service/kubepods-pod${UID_}.slice:cri-containerd:${CID}`)],
  ['a sibling with the name of a pod', v2(`/../pod${UID}/${CID}`)],
  ['a container deep in a pod', v2(`/kubepods/pod${UID}/x/${CID}`)],
  ['a path that is none', v2(`/docker/../docker/${CID}`)],
  ['a path with a gap', v2(`/docker//${CID}`)],
  ['a relative path', v2(`docker/${CID}`)],
  ['a line that is none', `${v2(`/docker/${CID}`)}docker\n`],
  ['two containers', `2:pids:/docker/${CID}\n1:cpu:/docker/${OTHER}\n0::/\n`],
  ['two pods', `2:pids:/kubepods/pod${UID}/${CID}\n1:cpu:/kubepods/pod${STATIC}/${CID}\n`],
  ['a pod in one hierarchy alone', `2:pids:/kubepods/pod${UID}/${CID}\n1:cpu:/x/${CID}\n`],
  ['a user in one hierarchy alone', `2:pids:/docker/${CID}\n1:name=systemd:${USER}/docker/${CID}\n`],
])('refuses %s', (_, text) => {
  expect(() => containerIn(text, undefined)).toThrow(expect.objectContaining({ code: 'ATTESTATION_FAILED' }));
});

it('passes over hierarchies that the engine does not use', () => {
  const path = `/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${UID_}.slice/crio-${CID}.scope`;
  const text = `12:hugetlb:${path}\n3:rdma:/\n1:name=systemd:${path}\n0::/system.slice/crio.service\n`;
  expect(containerIn(text, undefined)).toMatchObject({ engine: 'cri-o', id: CID, podUid: UID });
});

it.each([
  ['its own', mount(`/docker/${CID}`)],
  ['its own, of version 1', mount(`/docker/${CID}`, 'cgroup')],
  ['what is below', mount(`/docker/${CID}/docker/${OTHER}`)],
  ['all of them', mount('/')],
  ['none', '611 600 0:26 / / rw - overlay overlay rw\n'],
  ['another file system that looks like one', mount(`/docker/${OTHER}`, 'ext4')],
  ['a line that is cut off', mount(`/docker/${OTHER}`).slice(0, -40)],
])('believes a process that has mounted %s', (_, mountinfo) => {
  expect(containerIn(v2(`/docker/${CID}`), mountinfo)).toMatchObject({ id: CID });
});

it.each(['cgroup', 'cgroup2'])('refuses a process that has mounted the %s of another container', (type) => {
  expect(() => containerIn(v2(`/docker/${CID}`), mount(`/docker/${OTHER}`, type))).toThrow(/has mounted/);
});

const name = fc.oneof(
  fc.constantFrom(
    'docker',
    'kubepods',
    'burstable',
    '..',
    `pod${UID}`,
    'libpod_parent',
    'user.slice',
    'user@1000.service',
  ),
  fc.constantFrom(`docker-${CID}.scope`, `libpod-${CID}`, CID, OTHER, `kubepods-pod${UID_}.slice`, 'kubepods.slice'),
  fc.string(),
);
const text = fc.oneof(
  fc.string(),
  fc
    .array(fc.array(name, { maxLength: 6 }))
    .map((paths) => paths.map((path, n) => `${n}:x:/${path.join('/')}\n`).join('')),
);

it('tells nothing that is not in the text, and throws nothing but its own error', () => {
  fc.assert(
    fc.property(text, fc.option(text, { nil: undefined }), (cgroup, mountinfo) => {
      try {
        const place = containerIn(cgroup, mountinfo);
        if (place === undefined) return;
        expect(cgroup).toContain(place.id);
        expect(cgroup).toContain(place.cgroup);
        if (place.podUid !== undefined) expect(cgroup.replaceAll('_', '-')).toContain(place.podUid);
      } catch (error) {
        if (!isMayflyError(error, 'ATTESTATION_FAILED')) throw error;
      }
    }),
    { numRuns: 2000 },
  );
});

it('never takes what is below a container, or in the tree of a user, for a container of the machine', () => {
  fc.assert(
    fc.property(
      fc.array(
        name.filter((each) => !/\/|^\.{0,2}$|\n/.test(each)),
        { maxLength: 6 },
      ),
      (below) => {
        const path = below.map((each) => `/${each}`).join('');
        expect(containerIn(v2(`/docker/${OTHER}${path}`), undefined)).toMatchObject({ id: OTHER, podUid: undefined });
        const place = containerIn(v2(`${USER}${path}`), undefined);
        if (place !== undefined) expect(place).toMatchObject({ podUid: undefined, owner: 1000 });
      },
    ),
    { numRuns: 2000 },
  );
});
