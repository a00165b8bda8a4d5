import { readCrls } from '../../support/crl-reader.ts';
import { eventually } from '../../support/json-lines.ts';
import { AGENT_IMAGE } from './agent-image.ts';
import type { Cluster } from './cluster.ts';
import { WORKLOAD_IMAGE } from './image.ts';
import { PodLog, type PodName } from './pod-log.ts';

const SOCKET_DIR = '/run/mayfly';

/** Where workloads are, and by what they have the directory of the socket. */
export interface Place {
  readonly namespace: string;
  readonly volume: object;
}

/** Where almost all are. */
export const SHOP: Place = { namespace: 'shop', volume: { hostPath: { path: SOCKET_DIR, type: 'Directory' } } };
/** Where Pod Security lets nobody have a directory of the node. */
export const BANK: Place = { namespace: 'bank', volume: { csi: { driver: 'csi.spiffe.io', readOnly: true } } };

/** A line of `test/interop/go/held`: what is held now, or why it is not known. */
export interface Held {
  /** Milliseconds since the epoch, and since the program began. */
  readonly at: number;
  readonly since: number;
  readonly svids?: readonly { readonly id: string; readonly serial: string }[];
  readonly error?: string;
}

/** A line of `mayfly watch --json`. */
interface Watched {
  readonly crls: readonly string[];
}

interface PodObject {
  readonly metadata: PodName;
  readonly status: { readonly phase: string };
}

/** A pod whose program holds its identity for as long as it runs. */
export class Workload {
  readonly pod: PodName;
  readonly log: PodLog<Held>;

  constructor(cluster: Cluster, pod: PodName) {
    this.pod = pod;
    this.log = new PodLog(cluster.machine, pod);
  }

  /** A bare pod. @param serviceAccount of which {@link prepareNamespace} has made some @throws when it is not admitted */
  static async start(cluster: Cluster, name: string, serviceAccount: string, place: Place = SHOP): Promise<Workload> {
    const pod = await startPod(cluster, name, place.namespace, podSpec(serviceAccount, place.volume));
    return new Workload(cluster, pod);
  }

  /** The only pod of a Deployment of that name. */
  static async deploy(cluster: Cluster, name: string, serviceAccount: string): Promise<Workload> {
    const labels = { app: name };
    const deployment = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name, namespace: SHOP.namespace },
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: podSpec(serviceAccount, SHOP.volume) },
      },
    };
    await cluster.kubectl.apply(JSON.stringify(deployment));
    const pod = await eventually(`a pod of ${name}`, async () => {
      const asked = ['get', 'pods', `--namespace=${SHOP.namespace}`, `--selector=app=${name}`];
      const { items } = await cluster.kubectl.json<{ readonly items: readonly PodObject[] }>(...asked);
      return items[0];
    });
    return new Workload(cluster, pod.metadata);
  }

  /** The identity that it holds by the first line after so many. */
  async holds(after = 0): Promise<{ readonly id: string; readonly serial: string; readonly at: number }> {
    const { svids = [], at } = await this.log.first('an identity', (line) => line.svids !== undefined, after);
    const [svid, ...others] = svids;
    if (svid === undefined || others.length > 0) throw new Error(`${svids.length} identities`);
    return { ...svid, at };
  }

  get errors(): readonly string[] {
    return this.log.lines.flatMap(({ error }) => (error === undefined ? [] : [error]));
  }
}

/** A pod that relies on the lists of its trust domain: `mayfly watch --json`. */
export class RelyingParty {
  readonly pod: PodName;
  readonly #log: PodLog<Watched>;

  private constructor(cluster: Cluster, pod: PodName) {
    this.pod = pod;
    this.#log = new PodLog(cluster.machine, pod);
  }

  static async start(cluster: Cluster, name: string, serviceAccount: string): Promise<RelyingParty> {
    const spec = podSpec(serviceAccount, SHOP.volume, AGENT_IMAGE, ['mayfly', 'watch', '--json']);
    const pod = await startPod(cluster, name, SHOP.namespace, spec);
    const party = new RelyingParty(cluster, pod);
    await party.#log.first('an identity', () => true);
    return party;
  }

  /** Whether the newest list that it was given has that serial. */
  deems(serial: string): 'revoked' | 'good' {
    const { crls = [] } = this.#log.lines.at(-1) ?? {};
    return readCrls(crls.map(derOf)).some(({ serials }) => serials.includes(serial)) ? 'revoked' : 'good';
  }

  async seesRevoked(serial: string): Promise<void> {
    await eventually(`${serial} is revoked`, () => (this.deems(serial) === 'revoked' ? true : undefined), 20_000);
  }
}

/** Makes a namespace for workloads, and the service accounts that they run as. @param level of Pod Security */
export async function prepareNamespace(
  { kubectl }: Cluster,
  { namespace }: Place,
  serviceAccounts: readonly string[],
  level = 'privileged',
): Promise<void> {
  await kubectl.run('create', 'namespace', namespace);
  await kubectl.run('label', 'namespace', namespace, `pod-security.kubernetes.io/enforce=${level}`);
  for (const name of serviceAccounts) await kubectl.run('create', 'serviceaccount', name, `--namespace=${namespace}`);
}

async function startPod({ kubectl }: Cluster, name: string, namespace: string, spec: object): Promise<PodName> {
  await kubectl.apply(JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace }, spec }));
  return (await kubectl.json<PodObject>('get', 'pod', name, `--namespace=${namespace}`)).metadata;
}

/** What the level `restricted` lets a pod be, its volumes aside. */
function podSpec(
  serviceAccountName: string,
  volume: object,
  image = WORKLOAD_IMAGE,
  command: readonly string[] = ['/bin/workload'],
) {
  return {
    serviceAccountName,
    automountServiceAccountToken: false,
    terminationGracePeriodSeconds: 1,
    containers: [
      {
        name: 'workload',
        image,
        imagePullPolicy: 'Never',
        command,
        env: [{ name: 'SPIFFE_ENDPOINT_SOCKET', value: `unix://${SOCKET_DIR}/api.sock` }],
        securityContext: {
          runAsUser: 1000,
          runAsNonRoot: true,
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'] },
          seccompProfile: { type: 'RuntimeDefault' },
        },
        volumeMounts: [{ name: 'mayfly', mountPath: SOCKET_DIR, readOnly: true }],
      },
    ],
    volumes: [{ name: 'mayfly', ...volume }],
  };
}

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
}
