import type { Clock } from '../../kernel/clock.ts';
import type { ProcessInstance } from '../../peer/instance.ts';
import { type Attestor, type Found, NOTHING } from '../attestor.ts';
import type { ContainerPlace } from '../container/container-path.ts';
import type { Contexts } from '../contexts.ts';
import { Shortcomings } from '../shortcomings.ts';
import type { NamespaceSource } from './api-server.ts';
import type { PodSource } from './kubelet.ts';
import { NamespaceLabels } from './namespace-labels.ts';
import type { Pod, PodContainer } from './pod.ts';
import { MOST_ITEM_BYTES } from './pod-items.ts';
import { PodList } from './pod-list.ts';
import { PodLookup, type Seek } from './pod-lookup.ts';
import { PodWatch } from './pod-watch.ts';
import type { Place } from './pods.ts';

export interface K8sAttestorOptions {
  readonly contexts: Contexts;
  readonly clock: Clock;
  /** How often the list of pods is asked for while processes in pods hold an identity, in milliseconds. */
  readonly pollInterval: number;
  /** How long a caller waits for its container to be listed, in milliseconds; 4 s unless said. The runner waits for five. */
  readonly containerWait?: number;
  /** Whether a process is what its pod is, whatever container of it it is in: it need not be listed then. */
  readonly disableContainerSelectors: boolean;
  /** Whether nobody looks at the kubelet's certificate. */
  readonly skipKubeletVerification: boolean;
  /** Whose labels of namespaces are selectors too, if they are; this attestor's from now on. */
  readonly namespaces?: NamespaceSource | undefined;
  /** In which container a process is. @throws Error when that cannot be told */
  readonly placeOf: (instance: ProcessInstance) => ContainerPlace | undefined;
}

/** A pod, and the container of it that a process is in, if it is listed. */
interface PartOfPod {
  readonly pod: Pod;
  readonly container: PodContainer | undefined;
}

const CONTAINER_WAIT_MS = 4000;
// A list that is no older than so many intervals is as new as the interval promises, also where the kubelet is slow.
const NEW_ENOUGH_INTERVALS = 3;

// Beside the agent's own container, whose cgroup namespace does not show what both are in: its pod, or another engine's containers.
const OF_OWN_POD = /^\/\.\.\/[^/]+$/;

const UNVERIFIED =
  "attestors.k8s.skip_kubelet_verification is true: whoever answers at the kubelet's address says what pods are, and gets the agent's token";
const SENTENCES = {
  list: 'The list of pods could not be had, and what it was before is used on: processes in pods that are newer get no identity',
  namespace:
    'The labels of a namespace could not be had; processes in it get an identity by what they were before, if that is known',
  tooLarge: `A pod with more than ${MOST_ITEM_BYTES} bytes in the kubelet's list was passed over, and its processes get no identity; look for one whose fields are filled up`,
} as const;

/**
 * The `k8s` attestor: the pod and container that a process is in by its cgroup, and what the kubelet of this node says of them. Says
 * what SPIRE's says, in the same spelling.
 */
export class K8sAttestor implements Attestor {
  readonly name = 'k8s';
  readonly #options: K8sAttestorOptions;
  readonly #list: PodList;
  readonly #lookup: PodLookup;
  readonly #watch: PodWatch;
  readonly #namespaces: NamespaceLabels | undefined;
  readonly #shortcomings: Shortcomings<keyof typeof SENTENCES>;

  /** @param source is this attestor's from now on: it closes it */
  constructor(source: PodSource, options: K8sAttestorOptions) {
    const { clock, contexts, pollInterval } = options;
    this.#options = options;
    this.#shortcomings = new Shortcomings(SENTENCES, clock);
    this.#list = new PodList(source, clock, {
      answered: (pods) => this.#watch.compare(pods),
      failed: (message) => this.#shortcomings.note('list', message),
      passedOver: (count) => this.#shortcomings.note('tooLarge', `${count} of them`),
    });
    this.#lookup = new PodLookup(this.#list, {
      clock,
      newEnough: NEW_ENOUGH_INTERVALS * pollInterval,
      wait: options.containerWait ?? CONTAINER_WAIT_MS,
    });
    this.#watch = new PodWatch(this.#list, { contexts, clock, interval: pollInterval });
    this.#namespaces =
      options.namespaces &&
      new NamespaceLabels(options.namespaces, {
        clock,
        failed: (message) => this.#shortcomings.note('namespace', message),
      });
  }

  async attest(instance: ProcessInstance, signal: AbortSignal): Promise<Found> {
    const at = this.#options.placeOf(instance);
    const found = at === undefined ? undefined : await this.#find(at, signal);
    if (at === undefined || found === undefined) return NOTHING;
    const { container, pod } = found;
    const { uid, namespace, name } = pod;
    // Whoever may make cgroups can name one after another's pod. A container's id is its engine's, and in one pod only.
    if (at.podUid !== undefined && at.podUid !== uid) {
      throw new Error(
        `by its cgroup it is in pod ${at.podUid}, but container ${at.id} is in pod ${uid} (${namespace}/${name})`,
      );
    }
    if (container?.over === true) throw new Error(`container ${at.id} of pod ${namespace}/${name} has ended`);
    const labels = (await this.#namespaces?.of(namespace)) ?? [];
    const selectors = [...pod.selectors, ...labels];
    const context = { pod: { uid, namespace, name } };
    // What is listed only later must not be a difference.
    if (container === undefined || this.#options.disableContainerSelectors) return { selectors, context };
    const { engine, id } = container;
    return {
      selectors: [...selectors, ...container.selectors],
      context: { ...context, container: { engine, id } },
    };
  }

  shortcomings(): readonly string[] {
    const standing = this.#options.skipKubeletVerification ? [UNVERIFIED] : [];
    return [...standing, ...this.#shortcomings.list()];
  }

  async close(): Promise<void> {
    await Promise.all([this.#watch.close(), this.#list.close(), this.#namespaces?.close()]);
  }

  async #find({ cgroup, id, podUid }: ContainerPlace, signal: AbortSignal): Promise<PartOfPod | undefined> {
    const inPod: Seek<Place> = (pods) => pods.place(id, podUid);
    if (podUid === undefined) return OF_OWN_POD.test(cgroup) ? this.#lookup.findIfAny(inPod, signal) : undefined;
    if (!this.#options.disableContainerSelectors) {
      return this.#lookup.find(inPod, `container ${id} in a pod`, signal);
    }
    const known: Seek<PartOfPod> = (pods) => {
      const pod = pods.pod(podUid);
      return pods.place(id, podUid) ?? (pod && { pod, container: undefined });
    };
    return this.#lookup.find(known, `pod ${podUid}`, signal);
  }
}
