import type { ContextEnd, PodContext } from '../context.ts';
import type { Pod, PodContainer } from './pod.ts';

/** What an answer of the kubelet is, beside its pods. */
export interface Answer {
  /** Whether the kubelet that gave the list before gave this one too, and has not been started again meanwhile. */
  readonly sameKubelet: boolean;
  /** When that kubelet first listed a pod that the API server has, in monotonic milliseconds; `undefined` when it has not. */
  readonly apiSince: number | undefined;
  /** When it was asked, in monotonic milliseconds. */
  readonly askedAt: number;
}

/** A container and the pod that it is in. */
export interface Place {
  readonly pod: Pod;
  readonly container: PodContainer;
}

// A kubelet takes over what the API server lists one pod after the other, within milliseconds.
const COMPLETE_AFTER_MS = 5000;

/**
 * The pods of this node, as one answer of the kubelet has them and what came before leaves to know. Immutable.
 *
 * A kubelet that has just been started lists nothing, or only what lies in files, until it has heard from the API server, which may
 * take long; meanwhile all containers run on. So the absence of a pod counts only against a kubelet that has listed it before, or
 * that has heard from the API server.
 */
export class Pods {
  readonly #listed: ReadonlyMap<string, Pod>;
  /** Those of the answers before that this one does not contradict, though it does not list them. */
  readonly #carried: ReadonlyMap<string, Pod>;
  /** Those that the answer before listed and this one says are gone, whole or in part. */
  readonly #dropped: ReadonlySet<string>;
  readonly #places: ReadonlyMap<string, readonly Place[]>;
  readonly #names: ReadonlyMap<string, readonly Pod[]>;
  /** Whether a pod of the API server that is not here is gone. */
  readonly #complete: boolean;

  constructor(listed: readonly Pod[], answer: Answer, before?: Pods) {
    this.#listed = new Map(listed.map((pod) => [pod.uid, pod]));
    this.#names = Map.groupBy(listed, nameOf);
    this.#complete = answer.apiSince !== undefined && answer.askedAt - answer.apiSince >= COMPLETE_AFTER_MS;
    this.#carried = before === undefined ? new Map() : this.#carryOver(before, answer.sameKubelet);
    this.#dropped = before === undefined || !answer.sameKubelet ? new Set() : this.#missing(before);
    const all = [...this.#listed.values(), ...this.#carried.values()];
    const places = all.flatMap((pod) => pod.containers.map((container) => ({ pod, container })));
    this.#places = Map.groupBy(places, ({ container }) => container.id);
  }

  /**
   * Where a container is; `undefined` when it is in no pod that is known.
   *
   * @param podUid the pod that it is in, where that is known: what is listed of it in others does not count then, since whoever may write a
   * pod's status can have it list what he likes
   * @throws Error when two pods say that they have it, or another pod has come in the place of the one that has
   */
  place(containerId: string, podUid?: string): Place | undefined {
    const places = this.#places.get(containerId) ?? [];
    const own = places.filter(({ pod }) => pod.uid === podUid);
    const [place, ...others] = own.length === 0 ? places : own;
    if (others.length > 0) throw new Error(`container ${containerId} is listed more than once`);
    if (place !== undefined && this.isReplaced(place.pod)) {
      throw new Error(`in the place of pod ${nameOf(place.pod)} with container ${containerId} there is another one`);
    }
    return place;
  }

  /**
   * A pod by its uid; `undefined` when it is not known.
   *
   * @throws Error when another pod has come in its place
   */
  pod(uid: string): Pod | undefined {
    const pod = this.#listed.get(uid) ?? this.#carried.get(uid);
    if (pod !== undefined && this.isReplaced(pod)) {
      throw new Error(`in the place of pod ${nameOf(pod)} with uid ${uid} there is another one`);
    }
    return pod;
  }

  /** Whether another pod has come in the place of one, under its name. */
  isReplaced({ uid, namespace, name }: PodContext): boolean {
    const others = (this.#names.get(nameOf({ namespace, name })) ?? []).filter((other) => other.uid !== uid);
    const pod = this.#listed.get(uid);
    return others.some((other) => pod === undefined || isSuccessor(other, pod));
  }

  /** Whether a pod is over, and how. */
  endOfPod(pod: PodContext): ContextEnd | undefined {
    if (this.isReplaced(pod)) return 'pod-replaced';
    const { uid } = pod;
    if (this.#listed.has(uid) || this.#carried.has(uid)) return undefined;
    return this.#dropped.has(uid) || (this.#complete && !isHash(uid)) ? 'pod-ended' : undefined;
  }

  /** Whether a container is over while its pod is not. */
  isOver(containerId: string, { uid }: PodContext): boolean {
    const place = this.#places.get(containerId)?.find(({ pod }) => pod.uid === uid);
    if (place !== undefined) return place.container.over;
    if (this.#dropped.has(containerId)) return true;
    return this.#complete && this.#listed.get(uid)?.fromApi === true;
  }

  #carryOver(before: Pods, sameKubelet: boolean): ReadonlyMap<string, Pod> {
    const earlier = [...before.#carried.values(), ...(sameKubelet ? [] : before.#listed.values())];
    const kept = earlier.filter(
      (pod) => !this.#listed.has(pod.uid) && !this.isReplaced(pod) && !(this.#complete && pod.fromApi),
    );
    return new Map(kept.map((pod) => [pod.uid, pod]));
  }

  #missing(before: Pods): ReadonlySet<string> {
    const missing = new Set<string>();
    for (const [uid, pod] of before.#listed) {
      const now = this.#listed.get(uid);
      if (now === undefined) missing.add(uid);
      const ids = new Set(now?.containers.map(({ id }) => id));
      for (const { id } of pod.containers) if (!ids.has(id)) missing.add(id);
    }
    return missing;
  }
}

function nameOf({ namespace, name }: Pick<Pod, 'name' | 'namespace'>): string {
  return `${namespace}/${name}`;
}

/** A name belongs to one pod at a time: of two that are listed under it, one is on its way out. */
function isSuccessor(other: Pod, pod: Pod): boolean {
  if (other.leaving !== pod.leaving) return pod.leaving;
  return other.created > pod.created;
}

/** The uid of a pod from a file is a hash; one from the API server has dashes. */
function isHash(uid: string): boolean {
  return /^[0-9a-f]{32}$/.test(uid);
}
