import type { Clock } from '../../kernel/clock.ts';
import { messageOf } from '../../kernel/errors.ts';
import { sleep } from '../../kernel/sleep.ts';
import type { ProcessInstance } from '../../peer/instance.ts';
import { readStartTime } from '../../peer/system/proc.ts';
import { type Attestor, type Found, NOTHING } from '../attestor.ts';
import type { ContainerPlace } from '../container/container-path.ts';
import { ContextWatch } from '../context-watch.ts';
import type { Contexts } from '../contexts.ts';
import { Shortcomings } from '../shortcomings.ts';
import type { Container } from './container.ts';
import { Engine, type EngineSocket } from './engine.ts';
import { EngineContainers } from './engine-containers.ts';

/** Which containers are an attestor's, and whom it asks about them. */
export interface EngineTerms {
  readonly name: 'docker' | 'podman';
  /** Where each engine listens, by the name that contexts have for it. */
  readonly sockets: ReadonlyMap<string, EngineSocket>;
  /** The name of the engine that has a container; `undefined`, or another name, when that is none of this attestor's. */
  engineOf(place: ContainerPlace): string | undefined;
  /** Whether another engine may be meant too by such a place: then one that has no such container says nothing of it. */
  isUnsure(place: ContainerPlace): boolean;
}

export interface EngineAttestorOptions {
  readonly contexts: Contexts;
  readonly clock: Clock;
  /** How long a container's record may lag behind its processes, in milliseconds; 1 s unless said. */
  readonly recordLag?: number;
  /** In which container a process is. @throws Error when that cannot be told */
  readonly placeOf: (process: Pick<ProcessInstance, 'pid'>) => ContainerPlace | undefined;
}

interface Watched {
  readonly engine: Engine;
  readonly watch: ContextWatch;
}

// A process may call before its container's record says that it runs.
const RECORD_LAG_MS = 1000;
const PAUSE_MS = 100;

const SENTENCES = {
  unanswered:
    'An engine could not be asked about a process that is in one of its containers, and the process was refused; look at the engine and at its socket',
  contradicted:
    'A process is in a container by its cgroup, and the engine contradicts that; the process was refused: its cgroup bears a name that is not its own, or the agent does not see the processes of the host by their numbers',
} as const;

/**
 * The `docker` and `podman` attestors: the container that a process is in by its cgroup, and what the engine says of it in the selectors
 * of SPIRE's `docker` plugin.
 *
 * A cgroup's name proves little, since whoever may make cgroups gives them what names he likes. So the engine has to confirm that the
 * container runs, its first process has to be in the very cgroup that the caller is in, and the caller must not be older than that.
 */
export class EngineAttestor implements Attestor {
  readonly name: string;
  readonly #terms: EngineTerms;
  readonly #options: EngineAttestorOptions;
  readonly #engines: ReadonlyMap<string, Watched>;
  readonly #shortcomings: Shortcomings<keyof typeof SENTENCES>;

  constructor(terms: EngineTerms, options: EngineAttestorOptions) {
    this.name = terms.name;
    this.#terms = terms;
    this.#options = options;
    this.#shortcomings = new Shortcomings(SENTENCES, options.clock);
    // All at once: processes that are taken over at a start have containers before anybody is asked about one.
    this.#engines = new Map(Array.from(terms.sockets, ([name, socket]) => [name, watched(name, socket, options)]));
  }

  async attest(instance: ProcessInstance, signal: AbortSignal): Promise<Found> {
    const place = this.#options.placeOf(instance);
    const name = place === undefined ? undefined : this.#terms.engineOf(place);
    const engine = name === undefined ? undefined : this.#engines.get(name)?.engine;
    if (place === undefined || engine === undefined) return NOTHING;
    const container = await this.#confirmed(engine, place, instance, signal);
    if (container === undefined) return NOTHING;
    const { id, selectors, started } = container;
    return { selectors, context: { container: { engine: engine.name, id, started } } };
  }

  shortcomings(): readonly string[] {
    const unwatched = [...this.#engines.values()].flatMap(({ watch }) => watch.failure ?? []);
    return [
      ...unwatched.map((why) => `That a container ends goes unnoticed until its engine can be asked again (${why})`),
      ...this.#shortcomings.list(),
    ];
  }

  async close(): Promise<void> {
    await Promise.all([...this.#engines.values()].map(({ watch }) => watch.close()));
  }

  /** @throws Error when the engine does not answer, or what it says contradicts what the kernel does */
  async #confirmed(
    engine: Engine,
    place: ContainerPlace,
    { pid }: ProcessInstance,
    signal: AbortSignal,
  ): Promise<Container | undefined> {
    const { clock, recordLag = RECORD_LAG_MS } = this.#options;
    const until = clock.monotonic() + recordLag;
    for (;;) {
      const container = await this.#ask(engine, place, pid, signal);
      if (container === undefined && this.#terms.isUnsure(place)) return undefined;
      const contradiction = this.#contradictionOf(container, place, pid);
      if (contradiction === undefined) return container;
      if (clock.monotonic() >= until) {
        const text = `process ${pid} is in container ${place.id} by its cgroup, but ${contradiction}`;
        this.#shortcomings.note('contradicted', text);
        throw new Error(`${engine.name}: ${text}`);
      }
      await sleep(PAUSE_MS, clock, signal);
      signal.throwIfAborted();
    }
  }

  async #ask(engine: Engine, { id }: ContainerPlace, pid: number, signal: AbortSignal): Promise<Container | undefined> {
    try {
      return await engine.container(id, signal);
    } catch (error) {
      this.#shortcomings.note('unanswered', `process ${pid}: ${messageOf(error)}`);
      throw error;
    }
  }

  /** What of the engine's record does not fit to what the kernel says, such that it reads well behind "but". */
  #contradictionOf(container: Container | undefined, place: ContainerPlace, pid: number): string | undefined {
    if (container === undefined) return 'the engine has no such container';
    if (!container.runs) return 'the engine says that it does not run';
    const first = this.#firstPlaceOf(container);
    if (first?.id !== place.id || first.cgroup !== place.cgroup) {
      return `its first process, ${container.pid}, is in cgroup ${JSON.stringify(first?.cgroup)}, and not in ${JSON.stringify(place.cgroup)}`;
    }
    // Ticks since boot, of both: the engine's own time of the start is later than that of the first process.
    const [start, firstStart] = [readStartTime(pid), readStartTime(container.pid)];
    if (start === undefined || firstStart === undefined) return `its first process, ${container.pid}, is gone`;
    return BigInt(start) < BigInt(firstStart) ? 'the process is older than the container' : undefined;
  }

  /** Of a process that nothing holds: one that has just exited is in no container. */
  #firstPlaceOf({ pid }: Container): ContainerPlace | undefined {
    try {
      return this.#options.placeOf({ pid });
    } catch {
      return undefined;
    }
  }
}

function watched(name: string, socket: EngineSocket, { clock, contexts }: EngineAttestorOptions): Watched {
  const engine = new Engine(name, socket, clock);
  return { engine, watch: new ContextWatch(new EngineContainers(engine), contexts, clock) };
}
