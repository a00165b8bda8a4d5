import type { Clock } from '../kernel/clock.ts';
import { MayflyError, messageOf } from '../kernel/errors.ts';
import type { Selector } from '../kernel/selector.ts';
import { endText, type ProcessInstance } from '../peer/instance.ts';
import type { Attested, Attestor, Found } from './attestor.ts';
import type { Context } from './context.ts';
import { isSameContext, joinContexts } from './context.ts';

export interface RunnerOptions {
  readonly clock: Clock;
  /** How long one attestor may take, in milliseconds; 5 s unless said. */
  readonly deadline?: number;
  /** For how long what was found is believed while the process lives unchanged, in milliseconds; 1 s unless said. */
  readonly ttl?: number;
  /** Told how long each question to an attestor took, in milliseconds. */
  readonly timed?: ((attestor: string, ms: number) => void) | undefined;
}

/** How one attestor fares, for `status`. */
export interface AttestorStatus {
  readonly name: string;
  readonly runs: number;
  readonly failures: number;
  /** How long the last run took, in milliseconds; 0 before the first. */
  readonly lastMs: number;
  /** Why the last run that failed did; `undefined` when none has. */
  readonly lastFailure: string | undefined;
  readonly shortcomings: readonly string[];
}

interface Tally {
  readonly attestor: Attestor;
  runs: number;
  failures: number;
  lastMs: number;
  lastFailure: string | undefined;
}

interface Known {
  readonly attested: Attested;
  readonly until: number;
}

// Enough for processes that start now and then; a flood of them is worth no work ahead.
const MOST_ANTICIPATED = 16;

/** Asks all attestors about a process and joins what they say. Owns the attestors: it closes them. */
export class AttestationRunner {
  readonly #tallies: readonly Tally[];
  readonly #clock: Clock;
  readonly #deadline: number;
  readonly #ttl: number;
  readonly #timed: RunnerOptions['timed'];
  readonly #known = new WeakMap<ProcessInstance, Known>();
  readonly #running = new Map<ProcessInstance, Promise<Attested>>();
  readonly #closing = new AbortController();

  constructor(attestors: readonly Attestor[], options: RunnerOptions) {
    this.#tallies = attestors.map((attestor) => ({
      attestor,
      runs: 0,
      failures: 0,
      lastMs: 0,
      lastFailure: undefined,
    }));
    this.#clock = options.clock;
    this.#deadline = options.deadline ?? 5000;
    this.#ttl = options.ttl ?? 1000;
    this.#timed = options.timed;
  }

  /** What was found a moment ago of a process that still lives unchanged; `undefined` when it must be looked at again. */
  current(instance: ProcessInstance): Attested | undefined {
    const known = this.#known.get(instance);
    if (known === undefined || this.#clock.monotonic() >= known.until || !instance.alive()) return undefined;
    return known.attested;
  }

  /**
   * Looks at a process; calls for one process that come together share one look. While nothing has changed the answer is the same
   * object, so that what others derive from it can be kept by its identity.
   *
   * @throws MayflyError `CALLER_UNKNOWN` when the process is over, `ATTESTATION_FAILED` when an attestor that should know it cannot
   * tell, `SHUTTING_DOWN`
   */
  attest(instance: ProcessInstance): Promise<Attested> {
    const current = this.current(instance);
    if (current !== undefined) return Promise.resolve(current);
    const running = this.#running.get(instance);
    if (running !== undefined) return running;
    const run = this.#look(instance).finally(() => this.#running.delete(instance));
    this.#running.set(instance, run);
    return run;
  }

  /**
   * Begins to look at a process whose first call is on its way; that call joins in, and meets what goes wrong. While much is under
   * way it is left to the call, which is admitted by number.
   */
  anticipate(instance: ProcessInstance): void {
    if (this.running < MOST_ANTICIPATED) this.attest(instance).catch(() => undefined);
  }

  /** How many processes are being looked at. */
  get running(): number {
    return this.#running.size;
  }

  status(): readonly AttestorStatus[] {
    return this.#tallies.map(({ attestor, runs, failures, lastMs, lastFailure }) => ({
      name: attestor.name,
      runs,
      failures,
      lastMs,
      lastFailure,
      shortcomings: attestor.shortcomings(),
    }));
  }

  /** Refuses what is under way with `SHUTTING_DOWN`, then closes the attestors. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled(this.#running.values());
    await Promise.all(this.#tallies.map(({ attestor }) => attestor.close()));
  }

  async #look(instance: ProcessInstance): Promise<Attested> {
    if (this.#closing.signal.aborted) throw shuttingDown();
    assertAlive(instance);
    const start = this.#clock.monotonic();
    const outcomes = await Promise.allSettled(this.#tallies.map((tally) => this.#ask(tally, instance)));
    // In this order: an attestor fails over a process that exits under its eyes, and that is no fault of the attestor.
    if (this.#closing.signal.aborted) throw shuttingDown();
    assertAlive(instance);
    const { context, selectors } = joined(outcomes);
    return this.#remember(instance, selectors, context, start + this.#ttl);
  }

  /** Runs one attestor with its deadline; one that does not heed the signal is left behind, and its answer thrown away. */
  async #ask(tally: Tally, instance: ProcessInstance): Promise<Found> {
    const { attestor } = tally;
    const abort = new AbortController();
    const cut = Promise.withResolvers<never>();
    const stop = (why: string): void => {
      cut.reject(new Error(why));
      abort.abort();
    };
    const onClose = (): void => stop('the agent shuts down');
    const alarm = this.#clock.after(this.#deadline, () => stop(`no answer within ${this.#deadline} ms`));
    this.#closing.signal.addEventListener('abort', onClose);
    const start = this.#clock.monotonic();
    try {
      return await Promise.race([attestor.attest(instance, abort.signal), cut.promise]);
    } catch (error) {
      tally.failures += 1;
      tally.lastFailure = messageOf(error);
      throw new Error(`attestor ${attestor.name} about process ${instance.pid}: ${messageOf(error)}`, { cause: error });
    } finally {
      alarm.cancel();
      this.#closing.signal.removeEventListener('abort', onClose);
      tally.runs += 1;
      tally.lastMs = this.#clock.monotonic() - start;
      this.#timed?.(attestor.name, tally.lastMs);
    }
  }

  #remember(instance: ProcessInstance, selectors: ReadonlySet<Selector>, context: Context, until: number): Attested {
    const before = this.#known.get(instance)?.attested;
    const unchanged =
      before !== undefined && equal(before.selectors, selectors) && isSameContext(before.context, context);
    const attested = unchanged ? before : { instance, selectors, context };
    this.#known.set(instance, { attested, until });
    return attested;
  }
}

/** @throws MayflyError `ATTESTATION_FAILED` when one could not tell, or two contradict each other */
function joined(outcomes: readonly PromiseSettledResult<Found>[]): Pick<Attested, 'context' | 'selectors'> {
  const selectors = new Set<Selector>();
  const contexts: Context[] = [];
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') throw attestationFailed(outcome.reason);
    for (const found of outcome.value.selectors) selectors.add(found);
    contexts.push(outcome.value.context);
  }
  try {
    return { selectors, context: joinContexts(contexts) };
  } catch (error) {
    throw attestationFailed(error);
  }
}

function attestationFailed(cause: unknown): MayflyError {
  return new MayflyError('ATTESTATION_FAILED', 'workload attestation failed', { cause });
}

function equal(a: ReadonlySet<Selector>, b: ReadonlySet<Selector>): boolean {
  return a.size === b.size && a.isSubsetOf(b);
}

/** What was read under the number of a dead process may be another's. */
function assertAlive(instance: ProcessInstance): void {
  if (instance.alive('whole')) return;
  throw new MayflyError('CALLER_UNKNOWN', `process ${instance.pid} ${endText(instance.end)} since it connected`);
}

function shuttingDown(): MayflyError {
  return new MayflyError('SHUTTING_DOWN', 'the agent is shutting down');
}
