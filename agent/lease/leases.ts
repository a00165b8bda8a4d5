import type { Context } from '../attest/context.ts';
import { NO_CONTEXT } from '../attest/context.ts';
import type { Alarm } from '../kernel/clock.ts';
import { MayflyError } from '../kernel/errors.ts';
import type { Latest } from '../kernel/latest.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Entry } from '../registry/entry.ts';
import type { EndedLease, EndOptions } from '../revocation/revocations.ts';
import { BundleViews } from './bundle-views.ts';
import { Deliveries } from './deliveries.ts';
import type { FollowedSvid } from './holdings.ts';
import type { Inheritance, Lease, LeaseEnd } from './lease.ts';
import { whyEnded } from './lease-end.ts';
import type { LeaseParts } from './lease-parts.ts';
import { Workload } from './workload.ts';

// The wall clock is compared with the monotonic one this often; a difference that moved is a step or a suspend.
const CLOCK_CHECK_MS = 1000;
const CLOCK_STEP_MS = 2000;

/** What ended without anything that had to be revoked. */
const NOTHING: EndedLease = { serials: [], jtis: [] };

/** The table of live leases: a workload for each process instance that asks or holds something. */
export class Leases {
  /** How many leases ended, by reason. */
  readonly ended = new Map<LeaseEnd, number>();
  /** The streams that are open, and what each was told last. */
  readonly deliveries = new Deliveries();
  readonly #parts: LeaseParts & { readonly bundles: BundleViews };
  readonly #workloads = new Map<ProcessInstance, Workload>();
  readonly #stop = new AbortController();
  #clockCheck: Alarm | undefined;
  #clockOffset: number;

  constructor(parts: LeaseParts) {
    this.#parts = { ...parts, bundles: new BundleViews(parts.authority.bundle, parts.federated) };
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
      leaseEnd: (lease, reason, how) => this.#leaseEnded(lease, reason, how),
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

  /** Takes over a lease of an agent before this one. Its process is watched from now on; see {@link lookAgain}. */
  adopt(instance: ProcessInstance, entry: Entry, inherited: Inheritance): void {
    this.of(instance).adopt(entry, inherited);
  }

  /** All live leases. */
  *[Symbol.iterator](): Generator<Lease> {
    for (const workload of this.#workloads.values()) yield* workload.leases;
  }

  /** Where the process of a lease lives, as far as it was found out. */
  contextOf({ instance }: Lease): Context {
    return this.#workloads.get(instance)?.context ?? NO_CONTEXT;
  }

  /** What is renewed of all leases, since somebody follows it. */
  *followed(): Generator<FollowedSvid> {
    for (const workload of this.#workloads.values()) yield* workload.followed;
  }

  /** How many processes hold or follow something. */
  get workloads(): number {
    return this.#workloads.size;
  }

  /** Ends a lease for a reason that is not its process' own; `undefined` when it is over already. */
  end(lease: Lease, reason: LeaseEnd, how: EndOptions): EndedLease | undefined {
    return lease.ended ? undefined : this.#workloads.get(lease.instance)?.endLease(lease, reason, how);
  }

  /** Takes a WIT-SVID that was revoked out of a lease, and has another issued if somebody follows it. */
  replaceWit(lease: Lease): void {
    void this.#workloads.get(lease.instance)?.replaceWit(lease);
  }

  /** Has what a lease holds renewed now, if somebody follows it. Resolves when that was tried. */
  async renewNow(lease: Lease): Promise<void> {
    await this.#workloads.get(lease.instance)?.renewNow(lease);
  }

  /** Has it looked anew whether a process is entitled to what it holds. Resolves when that is done. */
  async lookAgain(instance: ProcessInstance): Promise<void> {
    await this.#workloads.get(instance)?.refresh();
  }

  /** Ends every stream with `shutdown`, drops the keys, and stops what this watches; the leases are the next agent's. */
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
    const { clock, log, revocation } = this.#parts;
    const offset = clock.now() - clock.monotonic();
    const step = offset - this.#clockOffset;
    this.#clockOffset = offset;
    if (Math.abs(step) > CLOCK_STEP_MS) {
      log.warn('clock.stepped', `the clock moved by ${Math.round(step / 1000)} s; all leases are looked at again`, {
        step_ms: step,
      });
      revocation.clockStepped();
      for (const workload of this.#workloads.values()) void workload.refresh();
    }
    this.#clockCheck = clock.after(CLOCK_CHECK_MS, () => this.#checkClock());
  }

  #leaseEnded(lease: Lease, reason: LeaseEnd, how: EndOptions): EndedLease {
    const { instance, entry } = lease;
    this.ended.set(reason, (this.ended.get(reason) ?? 0) + 1);
    this.#parts.log.info(
      'lease.ended',
      `the lease of process ${instance.pid} for ${entry.spiffeId} ended: it ${whyEnded(reason)}`,
      {
        instance: instance.key,
        entry: entry.id,
        spiffe_id: entry.spiffeId,
        lease: lease.id,
        reason,
      },
    );
    return reason === 'shutdown' ? NOTHING : this.#parts.revocation.end(lease, reason, how);
  }
}
