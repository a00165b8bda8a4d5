import { readCrls } from '../../support/crl-reader.ts';
import { eventually } from '../../support/json-lines.ts';
import { AGENT_IMAGE } from './agent-image.ts';
import type { Cluster } from './cluster.ts';
import { WORKLOAD_IMAGE } from './image.ts';
import { PodLog, type PodName } from './pod-log.ts';

/** The namespace of all workloads. */
export const NAMESPACE = 'shop';
const SOCKET_DIR = '/run/mayfly';

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

  /** A bare pod. @param serviceAccount of which {@link prepareNamespace} has made some */
  static async start(cluster: Cluster, name: string, serviceAccount: string): Promise<Workload> {
    const metadata = { name, namespace: NAMESPACE };
    await cluster.kubectl.apply(
      JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata, spec: podSpec(serviceAccount) }),
    );
    const { metadata: pod } = await cluster.kubectl.json<PodObject>('get', 'pod', name, `--namespace=${NAMESPACE}`);
    return new Workload(cluster, pod);
  }

  /** The only pod of a Deployment of that name. */
  static async deploy(cluster: Cluster, name: string, serviceAccount: string): Promise<Workload> {
    const labels = { app: name };
    const deployment = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name, namespace: NAMESPACE },
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: podSpec(serviceAccount) },
      },
    };
    await cluster.kubectl.apply(JSON.stringify(deployment));
    const pod = await eventually(`a pod of ${name}`, async () => {
      const asked = ['get', 'pods', `--namespace=${NAMESPACE}`, `--selector=app=${name}`];
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
    const spec = podSpec(serviceAccount, AGENT_IMAGE, ['mayfly', 'watch', '--json']);
    const metadata = { name, namespace: NAMESPACE };
    await cluster.kubectl.apply(JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata, spec }));
    const { metadata: pod } = await cluster.kubectl.json<PodObject>('get', 'pod', name, `--namespace=${NAMESPACE}`);
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

/** Makes the namespace of the workloads, and the service accounts that they run as. */
export async function prepareNamespace({ kubectl }: Cluster, serviceAccounts: readonly string[]): Promise<void> {
  await kubectl.run('create', 'namespace', NAMESPACE);
  for (const name of serviceAccounts) await kubectl.run('create', 'serviceaccount', name, `--namespace=${NAMESPACE}`);
}

function podSpec(serviceAccountName: string, image = WORKLOAD_IMAGE, command: readonly string[] = ['/bin/workload']) {
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
        securityContext: { runAsUser: 1000, allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        volumeMounts: [{ name: 'mayfly', mountPath: SOCKET_DIR, readOnly: true }],
      },
    ],
    volumes: [{ name: 'mayfly', hostPath: { path: SOCKET_DIR, type: 'Directory' } }],
  };
}

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
}
