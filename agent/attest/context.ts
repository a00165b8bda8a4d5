/**
 * Where a process lives, as far as it is known: what may be over before the process is, and takes its identities along. Of a kind a
 * process has one at most, and what names it is unique for all time.
 */
export interface Context {
  readonly container?: ContainerContext;
  readonly pod?: PodContext;
  readonly unit?: UnitContext;
}

/** A run of a container: engines start the same one again under its id. */
export interface ContainerContext {
  /** `docker`, `containerd`, `cri-o`, `podman`: as its cgroup or the engine tells. */
  readonly engine: string;
  /** 64 hexadecimal digits. */
  readonly id: string;
  /** The engine's own time of this start, where the engine was asked. */
  readonly started?: string;
}

/** A pod of Kubernetes. */
export interface PodContext {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
}

/** A run of a unit of systemd. */
export interface UnitContext {
  /** `payments.service` */
  readonly id: string;
  /** 32 hexadecimal digits, drawn at each start of the unit. */
  readonly invocation: string;
}

export type ContextKind = keyof Context;

/** Why a context is over while its processes may live on. */
export type ContextEnd = 'container-ended' | 'pod-ended' | 'pod-replaced' | 'unit-ended';

/** What a process has done whose context is over, such that "process 7 …" reads well. */
export const CONTEXT_END_TEXTS: Readonly<Record<ContextEnd, string>> = {
  'container-ended': 'was in a container that has ended',
  'pod-ended': 'was in a pod that is gone',
  'pod-replaced': 'was in a pod in whose place there is another one',
  'unit-ended': 'was in a unit that has stopped',
};

// Of a container's id: as engines show it.
const LEAST_ID = 12;

/** That nothing is known. */
export const NO_CONTEXT: Context = Object.freeze({});

/** The kinds of which `context` has one, each with what names it. */
export function contextKeys({ container, pod, unit }: Context): ReadonlyMap<ContextKind, string> {
  const keys = new Map<ContextKind, string>();
  if (container !== undefined) keys.set('container', `${container.id}@${container.started ?? ''}`);
  if (pod !== undefined) keys.set('pod', pod.uid);
  if (unit !== undefined) keys.set('unit', unit.invocation);
  return keys;
}

/**
 * One context from what several have found. Two may know of one container: an engine that was asked knows more of it than its cgroup.
 *
 * @throws Error when they contradict each other
 */
export function joinContexts(found: readonly Context[]): Context {
  return found.reduce((a, b) => {
    const kind = differingKind(a, b);
    if (kind !== undefined) throw new Error(`two attestors say different things of the ${kind} of one process`);
    if (contextKeys(b).size === 0) return a;
    const container = a.container?.started === undefined ? (b.container ?? a.container) : a.container;
    return Object.freeze({ ...a, ...b, ...(container !== undefined && { container }) });
  }, NO_CONTEXT);
}

/** The first kind of which both have one, and not the same. */
export function differingKind(a: Context, b: Context): ContextKind | undefined {
  const isOtherRun = isOther(a.container?.started, b.container?.started);
  if (isOther(a.container?.id, b.container?.id) || isOtherRun) return 'container';
  if (isOther(a.pod?.uid, b.pod?.uid)) return 'pod';
  return isOther(a.unit?.invocation, b.unit?.invocation) ? 'unit' : undefined;
}

/** Whether both say the same of each kind. */
export function isSameContext(a: Context, b: Context): boolean {
  const [ofA, ofB] = [contextKeys(a), contextKeys(b)];
  return ofA.size === ofB.size && ofA.entries().every(([kind, key]) => ofB.get(kind) === key);
}

/** What names a container, a pod or a unit, wherever it is written down. */
interface Named {
  readonly container?: Pick<ContainerContext, 'id'> | undefined;
  readonly pod?: PodContext | undefined;
  readonly unit?: UnitContext | undefined;
}

/**
 * Whether an operator means what somebody lives in by `place`: a container by its id, or by its first twelve digits at least; a pod by
 * its uid or `NAMESPACE/NAME`; a unit by its name or its invocation.
 */
export function isPlace(place: string, { container, pod, unit }: Named): boolean {
  const isContainer = place.length >= LEAST_ID && container?.id.startsWith(place) === true;
  const isPod = pod !== undefined && [pod.uid, `${pod.namespace}/${pod.name}`].includes(place);
  return isContainer || isPod || (unit !== undefined && [unit.id, unit.invocation].includes(place));
}

function isOther(a: string | undefined, b: string | undefined): boolean {
  return a !== undefined && b !== undefined && a !== b;
}
