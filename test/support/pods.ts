import { createHash } from 'node:crypto';

/** A container of a pod as a test wants it. */
export interface TestContainer {
  readonly name: string;
  /** As the kubelet writes it, with the engine in front; absent before it is listed. */
  readonly id?: string;
  readonly image?: string;
  readonly state?: 'running' | 'waiting' | 'terminated';
  /** The id of its last run. */
  readonly last?: string;
}

/** A pod as a test wants it; what is not said is as with most pods. */
export interface TestPod {
  readonly uid: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly serviceAccount?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** `file` for a static pod. */
  readonly source?: 'api' | 'file';
  readonly created?: string;
  readonly deleted?: string;
  readonly owner?: { readonly kind: string; readonly name: string; readonly uid: string };
  readonly containers?: readonly TestContainer[];
  readonly init?: readonly TestContainer[];
  readonly ephemeral?: readonly TestContainer[];
  /** How many environment variables each container has: eighty bytes each. */
  readonly variables?: number;
}

/** The id of a container that is told by a name: 64 hexadecimal digits. */
export function containerId(name: string): string {
  return createHash('sha256').update(name).digest('hex');
}

/** A container that runs under containerd. */
export function running(
  name: string,
  id = containerId(name),
  image = `registry.example.org/${name}:1.0`,
): TestContainer {
  return { name, id: `containerd://${id}`, image };
}

/** A pod in JSON, as a kubelet lists it: with all that a manifest has and attestation has no use for. */
export function podJson(pod: TestPod): string {
  const { namespace = 'shop', name = 'pay', uid } = pod;
  const { containers = [], ephemeral = [], init = [] } = pod;
  const manifest = {
    metadata: {
      name,
      generateName: `${name}-`,
      namespace,
      uid,
      resourceVersion: '4711',
      creationTimestamp: pod.created ?? '2026-11-24T12:00:00Z',
      ...(pod.deleted !== undefined && { deletionTimestamp: pod.deleted, deletionGracePeriodSeconds: 30 }),
      ...(pod.labels !== undefined && { labels: pod.labels }),
      annotations: {
        'kubernetes.io/config.seen': '2026-11-24T12:00:00.123456789Z',
        'kubernetes.io/config.source': pod.source ?? 'api',
        'example.org/note': 'brackets ]}[{ and "quotes" and \\ in a text are no structure',
      },
      ...(pod.owner !== undefined && {
        ownerReferences: [{ apiVersion: 'apps/v1', controller: true, blockOwnerDeletion: true, ...pod.owner }],
      }),
      managedFields: [
        { manager: 'kube-controller-manager', operation: 'Update', fieldsV1: { 'f:metadata': { '.': {} } } },
      ],
    },
    spec: {
      volumes: [{ name: 'kube-api-access', projected: { defaultMode: 420, sources: [] } }],
      ...(init.length > 0 && { initContainers: init.map((each) => specOf(each, pod.variables)) }),
      containers: containers.map((each) => specOf(each, pod.variables)),
      restartPolicy: 'Always',
      serviceAccountName: pod.serviceAccount ?? 'payments',
      serviceAccount: pod.serviceAccount ?? 'payments',
      nodeName: 'node-1',
      schedulerName: 'default-scheduler',
    },
    status: {
      phase: 'Running',
      podIP: '10.0.0.7',
      qosClass: 'Burstable',
      ...(init.length > 0 && { initContainerStatuses: init.map(statusOf) }),
      ...(containers.length > 0 && { containerStatuses: containers.map(statusOf) }),
      ...(ephemeral.length > 0 && { ephemeralContainerStatuses: ephemeral.map(statusOf) }),
    },
  };
  return JSON.stringify(manifest);
}

/** The whole answer of a kubelet; Go writes null where there is no pod. */
export function podListJson(pods: readonly string[]): string {
  const items = pods.length === 0 ? 'null' : `[${pods.join(',')}]`;
  return `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":${items}}\n`;
}

function specOf({ name, image }: TestContainer, variables = 2): object {
  return {
    name,
    image,
    command: ['/usr/bin/server', '--config=/etc/server/config.yaml'],
    env: Array.from({ length: variables }, (_, index) => ({
      name: `${name.toUpperCase()}_SETTING_${index}`,
      value: `https://service-${index}.internal.example.org:8443/path`,
    })),
    volumeMounts: [
      { name: 'kube-api-access', readOnly: true, mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' },
    ],
    imagePullPolicy: 'IfNotPresent',
  };
}

function statusOf({ id, image = '', last, name, state = 'running' }: TestContainer): object {
  const startedAt = '2026-11-24T12:00:01Z';
  const states = {
    running: { running: { startedAt } },
    waiting: { waiting: { reason: 'CrashLoopBackOff' } },
    terminated: {
      terminated: { exitCode: 0, startedAt, finishedAt: startedAt, ...(id !== undefined && { containerID: id }) },
    },
  };
  return {
    name,
    state: states[id === undefined ? 'waiting' : state],
    lastState: last === undefined ? {} : { terminated: { exitCode: 1, startedAt, containerID: last } },
    ready: true,
    restartCount: last === undefined ? 0 : 1,
    image,
    imageID: id === undefined || image === '' ? '' : `${image.split(':')[0]}@sha256:${containerId(image)}`,
    ...(id !== undefined && { containerID: id }),
  };
}
