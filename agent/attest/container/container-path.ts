import { MayflyError } from '../../kernel/errors.ts';

/** Whose container a cgroup says it is, by what its engine names it after; `unknown` where it is named by its bare id. */
export type ContainerEngine = 'docker' | 'containerd' | 'cri-o' | 'podman' | 'unknown';

/** The container that a process is in. */
export interface ContainerPlace {
  readonly engine: ContainerEngine;
  /** 64 lower-case hexadecimal digits. */
  readonly id: string;
  /**
   * The pod's uid as the kubelet lists it: with dashes, or without any for a static pod. `undefined` outside of pods, and for a
   * container of the agent's own pod where the agent has a cgroup namespace of its own, which does not show what is above it.
   */
  readonly podUid: string | undefined;
  /**
   * The user to whom the tree above it is delegated, by its path or by its owner: a rootless container, or what this user has named
   * like one. No engine of root's has a container there. `undefined` elsewhere, and for root.
   */
  readonly owner: number | undefined;
  /** The path of the container's own cgroup; all its processes are in it or below. */
  readonly cgroup: string;
}

const ID = '[0-9a-f]{64}';
const uid = (dash: string): string =>
  `${[8, 4, 4, 4, 12].map((digits) => `[0-9a-f]{${digits}}`).join(dash)}|[0-9a-f]{32}`;

const BARE = new RegExp(`^${ID}$`);
const NAMED = new RegExp(
  `^(?:(docker|cri-containerd|crio|nerdctl|libpod)-(${ID})\\.scope|(crio|libpod|libpod-payload)-(${ID}))$`,
);
// What runc makes of a name for systemd when it was not told to ask systemd: a common slip on nodes.
const COLONS = new RegExp(`^([^:]+\\.slice):(docker|cri-containerd|crio|nerdctl|libpod):(${ID})$`);
const POD_FOLDER = new RegExp(`^pod(${uid('-')})$`);
const POD_SLICE = new RegExp(`^(?:\\w+-)*kubepods(?:-(?:burstable|besteffort))?-pod(${uid('_')})\\.slice$`);
const POD_FOLDER_PARENTS = /^(?:kubelet\/)?kubepods(?:\/(?:burstable|besteffort))?$/;
const POD_FOLDER_PARENTS_FROM_A_POD = /^(?:burstable|besteffort)?$/;
const RUNTIME =
  /^(?:system\.slice\/(?:containerd|cri-docker|crio|docker|k3s|k3s-agent|rke2-agent|rke2-server)\.service)?$/;
const DELEGATED = /^user(?:-([0-9]{1,10})\.slice|@([0-9]{1,10})\.service)$/;

const ENGINES: Readonly<Record<string, ContainerEngine>> = {
  docker: 'docker',
  'cri-containerd': 'containerd',
  nerdctl: 'containerd',
  crio: 'cri-o',
  libpod: 'podman',
  'libpod-payload': 'podman',
};

/**
 * The container that the cgroup at `path` belongs to: the outermost one on the way. That one was made by an engine on this machine,
 * and what is below it is named by whoever is inside: an engine in the container, or a process that wants to pass for another's.
 * `undefined` when it belongs to none.
 *
 * A name alone proves little: whoever has a tree delegated can make a `docker-<id>.scope` in it. A user's own tree is told by `owner`;
 * of any other the engine has to confirm that its container is at `cgroup`. A pod's uid is told only where root alone can make it.
 *
 * @param path as `/proc/<pid>/cgroup` has it, or the root of a mount of cgroups. With `/..` in front where the agent has a cgroup
 * namespace of its own and the process is not in it: relative to what both have in common, so it may lack what is above
 * @throws MayflyError `ATTESTATION_FAILED` when it names a pod where no kubelet makes one, or is no path of the kernel's
 */
export function containerAt(path: string): ContainerPlace | undefined {
  const { up, names } = split(path);
  const start = path.length - names.join('/').length;
  let owner: number | undefined;
  let pod: Pod | undefined;
  for (const [index, name] of names.entries()) {
    owner ??= delegatedTo(name);
    // A user's own cluster is none of the node's.
    if (!isUser(owner)) pod ??= podAt(names, index, up, path);
    const container = named(names, index);
    if (container === undefined) continue;
    if (pod !== undefined && index !== pod.container)
      throw ambiguous(path, 'has a container at an unknown place in a pod');
    const length = names.slice(0, index + 1).join('/').length;
    return {
      ...container,
      podUid: pod?.uid,
      owner: isUser(owner) ? owner : undefined,
      cgroup: path.slice(0, start + length),
    };
  }
  return undefined;
}

interface Pod {
  readonly uid: string;
  /** Where the name of its container stands. */
  readonly container: number;
}

function split(path: string): { readonly up: number; readonly names: readonly string[] } {
  const names = path.split('/').slice(1);
  const up = names.findIndex((name) => name !== '..');
  if (!path.startsWith('/')) throw ambiguous(path, 'is no path');
  if (path === '/' || up < 0) return { up: names.length, names: [] };
  const down = names.slice(up);
  if (down.some((name) => ['', '.', '..'].includes(name))) throw ambiguous(path, 'is no path of the kernel');
  return { up, names: down };
}

/** Root's own manager delegates nothing to anybody else. */
function isUser(owner: number | undefined): owner is number {
  return owner !== undefined && owner !== 0;
}

function delegatedTo(name: string): number | undefined {
  const [, slice, service] = DELEGATED.exec(name) ?? [];
  const number = slice ?? service;
  return number === undefined ? undefined : Number(number);
}

/** The container that is named at `index`; a pod of podman's has an id of the same form. */
function named(names: readonly string[], index: number): Pick<ContainerPlace, 'engine' | 'id'> | undefined {
  const name = names[index] ?? '';
  const parent = names[index - 1];
  if (BARE.test(name)) {
    if (parent === 'libpod_parent') return undefined;
    return { engine: parent === 'docker' ? 'docker' : 'unknown', id: name };
  }
  const [, scope, scopeId, folder, folderId] = NAMED.exec(name) ?? [];
  const [, , colons, colonsId] = COLONS.exec(name) ?? [];
  const engine = ENGINES[scope ?? folder ?? colons ?? ''];
  const id = scopeId ?? folderId ?? colonsId;
  return engine === undefined || id === undefined ? undefined : { engine, id };
}

/** The pod that is named at `index`, with all that the kubelet has above it. */
function podAt(names: readonly string[], index: number, up: number, path: string): Pod | undefined {
  const name = names[index] ?? '';
  const above = names.slice(0, index).join('/');
  const [, folder] = POD_FOLDER.exec(name) ?? [];
  if (folder !== undefined) {
    // From inside a pod: at least the agent's own container and pod are left on the way up.
    const isFromAPod = up > 1 && POD_FOLDER_PARENTS_FROM_A_POD.test(above);
    if (isFromAPod || POD_FOLDER_PARENTS.test(above)) return { uid: folder, container: index + 1 };
    throw ambiguous(path, 'has a pod where no kubelet makes one');
  }
  const [, colons] = COLONS.exec(name) ?? [];
  const [, slice] = POD_SLICE.exec(colons ?? name) ?? [];
  if (slice === undefined) return undefined;
  const isKubelets = colons === undefined ? isOfSlices(name, above, up) : RUNTIME.test(above);
  if (!isKubelets) throw ambiguous(path, 'has a pod where no kubelet makes one');
  return { uid: slice.replaceAll('_', '-'), container: colons === undefined ? index + 1 : index };
}

/** Whether all slices that systemd puts above this one are there; from inside a pod, those that are not above both. */
function isOfSlices(slice: string, above: string, up: number): boolean {
  const parts = slice.slice(0, -'.slice'.length).split('-');
  const chain = parts.slice(0, -1).map((_, index) => `${parts.slice(0, index + 1).join('-')}.slice`);
  if (up < 2) return above === chain.join('/');
  return chain.some((_, index) => chain.slice(index).join('/') === above) || above === '';
}

/** An error that says why a path is not believed. */
export function ambiguous(path: string, why: string): MayflyError {
  const shown = path.length > 400 ? `${path.slice(0, 400)}…` : path;
  return new MayflyError(
    'ATTESTATION_FAILED',
    `cannot tell which container the cgroup ${JSON.stringify(shown)} belongs to: it ${why}`,
  );
}
