import type { Alarm } from '../kernel/clock.ts';
import { MayflyError } from '../kernel/errors.ts';
import type { Latest } from '../kernel/latest.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Lease, LeaseEnd } from './lease.ts';
import type { LeaseParts } from './lease-parts.ts';
import { Workload } from './workload.ts';

// The wall clock is compared with the monotonic one this often; a difference that moved is a step or a suspend.
const CLOCK_CHECK_MS = 1000;
const CLOCK_STEP_MS = 2000;

/** The table of live leases: a workload for each process instance that asks or holds something. */
export class Leases {
  /** How many leases ended, by reason. */
  readonly ended = new Map<LeaseEnd, number>();
  readonly #parts: LeaseParts;
  readonly #workloads = new Map<ProcessInstance, Workload>();
  readonly #stop = new AbortController();
  #clockCheck: Alarm | undefined;
  #clockOffset: number;

  constructor(parts: LeaseParts) {
    this.#parts = parts;
    this.#clockOffset = parts.clock.now() - parts.clock.monotonic();
    this.#refreshOn(parts.entries);
    this.#refreshOn(parts.authority.bundle);
    this.#refreshOn(parts.federated);
    this.#checkClock();
  }

  /**
   * The workload of an instance, made at its first call.
   *
   * @throws MayflyError `SHUTTING_DOWN`
   */
  of(instance: ProcessInstance): Workload {
    if (this.#stop.signal.aborted) throw new MayflyError('SHUTTING_DOWN', 'the agent is stopping');
    const known = this.#workloads.get(instance);
    if (known !== undefined) return known;
    let forget = () => {};
    const workload: Workload = new Workload(instance, this.#parts, {
      leaseEnd: (lease, reason) => this.#leaseEnded(lease, reason),
      idle: () => workload.end('expired'),
      end: () => {
        forget();
        this.#workloads.delete(instance);
      },
    });
    this.#workloads.set(instance, workload);
    forget = instance.onEnd((reason) => workload.end(reason));
    return workload;
  }

  /** All live leases. */
  *[Symbol.iterator](): Generator<Lease> {
    for (const workload of this.#workloads.values()) yield* workload.leases;
  }

  /** How many processes hold or follow something. */
  get workloads(): number {
    return this.#workloads.size;
  }

  /** Ends every lease and stream with `shutdown`, and what this watches. May be called again. */
  close(): void {
    this.#stop.abort();
    this.#clockCheck?.cancel();
    for (const workload of this.#workloads.values()) workload.end('shutdown');
  }

  #refreshOn(source: Latest<unknown>): void {
    const follow = async () => {
      for await (const _ of source.follow(this.#stop.signal)) {
        for (const workload of this.#workloads.values()) void workload.refresh();
      }
    };
    void follow();
  }

  #checkClock(): void {
    const { clock, log } = this.#parts;
    const offset = clock.now() - clock.monotonic();
    const step = offset - this.#clockOffset;
    this.#clockOffset = offset;
    if (Math.abs(step) > CLOCK_STEP_MS) {
      log.warn('clock.stepped', `the clock moved by ${Math.round(step / 1000)} s; all leases are looked at again`, {
        step_ms: step,
      });
      for (const workload of this.#workloads.values()) void workload.refresh();
    }
    this.#clockCheck = clock.after(CLOCK_CHECK_MS, () => this.#checkClock());
  }

  #leaseEnded(lease: Lease, reason: LeaseEnd): void {
    this.ended.set(reason, (this.ended.get(reason) ?? 0) + 1);
    this.#parts.log.info(
      'lease.ended',
      `the lease of process ${lease.instance.pid} for ${lease.entry.spiffeId} ended: ${reason}`,
      {
        instance: lease.instance.key,
        entry: lease.entry.id,
        spiffe_id: lease.entry.spiffeId,
        lease: lease.id,
        reason,
      },
    );
  }
}
