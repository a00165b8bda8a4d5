import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MAIN } from '../../support/daemon.ts';
import type { Cluster } from './cluster.ts';
import { CHART, type Values } from './helm.ts';

/** The namespace of the agents, and the name of the release. */
export const RELEASE = 'mayfly';

/** The chart, as Helm installs it in a cluster. */
export class Release {
  readonly #cluster: Cluster;
  readonly #helm: string;
  readonly #lasting: Values;

  private constructor(cluster: Cluster, helm: string, lasting: Values) {
    this.#cluster = cluster;
    this.#helm = helm;
    this.#lasting = lasting;
  }

  /**
   * Makes the namespace as an administrator does, installs the chart and waits for its pods.
   *
   * @param lasting values that stay whatever else is changed
   */
  static async install(cluster: Cluster, helm: string, lasting: Values): Promise<Release> {
    const release = new Release(cluster, helm, lasting);
    await cluster.kubectl.run('create', 'namespace', RELEASE);
    await cluster.kubectl.run('label', 'namespace', RELEASE, 'pod-security.kubernetes.io/enforce=privileged');
    await release.upgrade({});
    return release;
  }

  /** Changes all values but the lasting ones, and waits until the agent runs with them. */
  async upgrade(values: Values): Promise<void> {
    const { machine } = this.#cluster;
    const file = join(machine.directory, 'values.json');
    writeFileSync(machine.path(file), JSON.stringify({ ...this.#lasting, ...values }));
    const args = ['--namespace', RELEASE, '--values', file, '--kubeconfig', this.#cluster.kubectl.kubeconfig];
    await machine.run([this.#helm, 'upgrade', '--install', '--reset-values', RELEASE, CHART, ...args]);
    await this.rolledOut();
  }

  /** What the agents have left on the nodes stays. */
  async uninstall(): Promise<void> {
    const args = ['--namespace', RELEASE, '--kubeconfig', this.#cluster.kubectl.kubeconfig];
    await this.#cluster.machine.run([this.#helm, 'uninstall', RELEASE, ...args]);
  }

  /** Resolves when each node has an agent, and a CSI driver, of the newest version that is ready. */
  async rolledOut(): Promise<void> {
    const { kubectl } = this.#cluster;
    const selector = `--selector=app.kubernetes.io/instance=${RELEASE}`;
    await kubectl.run('rollout', 'status', 'daemonset', selector, `--namespace=${RELEASE}`, '--timeout=100s');
  }

  /** The agent's own command line, in its container. @returns what it says with `--json` */
  async mayfly<T>(...args: readonly string[]): Promise<T> {
    const exec = ['exec', `--namespace=${RELEASE}`, `daemonset/${RELEASE}`, '--', 'mayfly'];
    return JSON.parse(await this.#cluster.kubectl.run(...exec, ...args, '--json')) as T;
  }

  /** What the agent says of itself, also where no kubelet hands on what is typed: by its socket's place on the node. */
  async status(): Promise<Status> {
    const { metadata } = await this.pod();
    const { kubeletDirectory, machine } = this.#cluster;
    // The path of a socket may have 107 characters.
    const link = join(machine.directory, metadata.uid);
    const volume = join(kubeletDirectory, 'pods', metadata.uid, 'volumes/kubernetes.io~empty-dir/admin');
    await machine.run(['ln', '--symbolic', '--force', '--no-dereference', volume, link]);
    const status = ['status', '--json', '--admin-socket', join(link, 'admin.sock')];
    return JSON.parse(await machine.run([process.execPath, MAIN, ...status])) as Status;
  }

  /** The pod of that name, by its label: the agent's, or that of the `spiffe-csi-driver`. */
  async pod(name = 'mayfly'): Promise<AgentPod> {
    const pods = ['get', 'pods', `--namespace=${RELEASE}`, `--selector=app.kubernetes.io/name=${name}`];
    const { items } = await this.#cluster.kubectl.json<{ readonly items: readonly AgentPod[] }>(...pods);
    const [pod, ...others] = items;
    if (pod === undefined || others.length > 0) throw new Error(`${items.length} pods of ${name} on one node`);
    return pod;
  }
}

interface Status {
  readonly attestors: readonly { readonly name: string; readonly shortcomings: readonly string[] }[];
}

export interface AgentPod {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly status: {
    readonly podIP: string;
    /** The time is cut to the second. */
    readonly conditions: readonly { readonly type: string; readonly lastTransitionTime: string }[];
    readonly containerStatuses: readonly { readonly containerID: string }[];
  };
}
