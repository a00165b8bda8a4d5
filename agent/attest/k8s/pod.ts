import * as v from 'valibot';
import { type Selector, selector } from '../../kernel/selector.ts';
import { namedTexts } from '../named-texts.ts';

/** A container of a pod that has been created: init, sidecar, ephemeral or ordinary. */
export interface PodContainer {
  /** As the kubelet names it: `containerd`, `cri-o`, `docker`. */
  readonly engine: string;
  /** 64 hexadecimal digits. */
  readonly id: string;
  /** Whether the kubelet says that it has ended. */
  readonly over: boolean;
  /** What is true of it alone. */
  readonly selectors: readonly Selector[];
}

/** What is kept of a pod: a thousandth of its manifest. */
export interface Pod {
  /** Of a static pod the hash of its file, as in its cgroup; the API's copy of it has another. */
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  /** Whether the API server has it, rather than a file on the node alone. */
  readonly fromApi: boolean;
  /** Milliseconds since the epoch; 0 where nobody said. */
  readonly created: number;
  /** Whether it is to go: its containers are being stopped. */
  readonly leaving: boolean;
  /** What is true of all its containers. */
  readonly selectors: readonly Selector[];
  readonly containers: readonly PodContainer[];
}

// Go leaves out what is empty, or writes null.
const optionalText = v.nullish(v.string(), '');
const texts = v.nullish(namedTexts, {});
const list = <const S extends v.GenericSchema>(item: S) => v.nullish(v.array(item), []);

const containerStatus = v.object({
  name: v.string(),
  image: optionalText,
  imageID: optionalText,
  containerID: optionalText,
  state: v.nullish(v.object({ terminated: v.nullish(v.object({})) })),
  lastState: v.nullish(v.object({ terminated: v.nullish(v.object({ containerID: optionalText })) })),
});
const manifest = v.object({
  metadata: v.object({
    uid: v.pipe(v.string(), v.minLength(1)),
    namespace: v.string(),
    name: v.string(),
    labels: texts,
    annotations: texts,
    creationTimestamp: optionalText,
    deletionTimestamp: optionalText,
    ownerReferences: list(v.object({ kind: v.string(), name: v.string(), uid: v.string() })),
  }),
  spec: v.object({ nodeName: optionalText, serviceAccountName: optionalText }),
  status: v.nullish(
    v.object({
      containerStatuses: list(containerStatus),
      initContainerStatuses: list(containerStatus),
      ephemeralContainerStatuses: list(containerStatus),
    }),
  ),
});

type Manifest = v.InferOutput<typeof manifest>;
type ContainerStatus = v.InferOutput<typeof containerStatus>;

const STATIC_SOURCES: ReadonlySet<string | undefined> = new Set(['file', 'http']);
const CONTAINER_ID = /^([a-z0-9.-]+):\/\/([0-9a-f]{64})$/;

/**
 * Reads a pod as the kubelet lists it and keeps what attestation needs.
 *
 * @throws Error when it is no pod
 */
export function parsePod(json: string): Pod {
  const parsed = v.safeParse(manifest, JSON.parse(json));
  if (!parsed.success) {
    const [issue] = parsed.issues;
    throw new Error(`a pod in it has no proper ${v.getDotPath(issue) ?? 'form'}: ${issue.message}`);
  }
  const { metadata, status } = parsed.output;
  const all = [
    ...(status?.containerStatuses ?? []),
    ...(status?.initContainerStatuses ?? []),
    ...(status?.ephemeralContainerStatuses ?? []),
  ];
  return {
    uid: metadata.uid,
    namespace: metadata.namespace,
    name: metadata.name,
    fromApi: !STATIC_SOURCES.has(metadata.annotations['kubernetes.io/config.source']),
    created: Date.parse(metadata.creationTimestamp) || 0,
    leaving: metadata.deletionTimestamp !== '',
    selectors: podSelectors(parsed.output),
    containers: all.flatMap((each) => containerOf(each) ?? []),
  };
}

function containerOf(status: ContainerStatus): PodContainer | undefined {
  const [, engine, id] = CONTAINER_ID.exec(status.containerID) ?? [];
  if (engine === undefined || id === undefined) return undefined;
  // One that waits to be started again still shows the id of its last run.
  const wasLast = status.lastState?.terminated?.containerID === status.containerID;
  const over = wasLast || (status.state?.terminated ?? undefined) !== undefined;
  const selectors = [
    selector('k8s', 'container-name', status.name),
    ...imagesOf([status]).map((image) => selector('k8s', 'container-image', image)),
  ];
  return { engine, id, over, selectors };
}

/** Those of SPIRE, in its spelling. What is empty names nobody and is left out, but for the value of a label. */
function podSelectors({ metadata, spec, status }: Manifest): readonly Selector[] {
  const containers = status?.containerStatuses ?? [];
  const initContainers = status?.initContainerStatuses ?? [];
  const single = [
    ['ns', metadata.namespace],
    ['sa', spec.serviceAccountName],
    ['node-name', spec.nodeName],
    ['pod-uid', metadata.uid],
    ['pod-name', metadata.name],
    ['pod-image-count', String(containers.length)],
    ['pod-init-image-count', String(initContainers.length)],
  ] as const;
  return [
    ...single.filter(([, value]) => value !== '').map(([name, value]) => selector('k8s', name, value)),
    ...imagesOf(containers).map((image) => selector('k8s', 'pod-image', image)),
    ...imagesOf(initContainers).map((image) => selector('k8s', 'pod-init-image', image)),
    ...Object.entries(metadata.labels).map(([key, value]) => selector('k8s', 'pod-label', key, value)),
    ...metadata.ownerReferences.flatMap(({ kind, name, uid }) => [
      selector('k8s', 'pod-owner', kind, name),
      selector('k8s', 'pod-owner-uid', kind, uid),
    ]),
  ];
}

/** By name and by digest: the name is what somebody wrote, the digest what runs. */
function imagesOf(statuses: readonly ContainerStatus[]): readonly string[] {
  return [...new Set(statuses.flatMap(({ image, imageID }) => [image, imageID]).filter((each) => each !== ''))];
}
