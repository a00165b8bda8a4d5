import Counter from 'prom-client/lib/counter.js';
import Histogram from 'prom-client/lib/histogram.js';
import type Registry from 'prom-client/lib/registry.js';
import type { ErrorCode } from '../../kernel/errors.ts';
import type { FollowedKind } from '../../lease/followers.ts';
import type { Decided, LeaseObserver } from '../../lease/observer.ts';
import type { SvidKind } from '../../ledger/event.ts';
import type { Stream } from '../../ledger/segments.ts';
import type { Occasion } from '../../policy/grant.ts';
import type { RevocationObserver } from '../../revocation/observer.ts';
import type { RevocationReason } from '../../svid/crl.ts';
import { REVOCATION_REASONS } from '../../svid/crl.ts';
import type { CallObserver } from '../grpc.ts';
import type { EntryLabels } from './entry-labels.ts';
import { counter, histogram, seconds } from './family.ts';

const KINDS: readonly SvidKind[] = ['x509', 'jwt', 'wit'];

const MOMENTS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** What has to be counted or timed as it happens. */
export const MEASURED = {
  mayfly_attestation_duration_seconds: histogram('How long an attestor took.', MOMENTS, 'attestor'),
  mayfly_svids_issued_total: counter('SVIDs that were issued, renewals among them.', 'entry', 'kind', 'occasion'),
  mayfly_svids_refused_total: counter(
    'SVIDs that were refused, by the rule of the policy; no_entry to processes that no entry matches.',
    'entry',
    'kind',
    'reason',
  ),
  mayfly_svids_failed_total: counter(
    'SVIDs that were granted and could not be signed or recorded, or whose process ended meanwhile.',
    'entry',
    'kind',
    'code',
  ),
  mayfly_svid_issue_duration_seconds: histogram('From the decision to the durable record.', MOMENTS, 'kind'),
  mayfly_svid_renewal_lateness_seconds: histogram(
    'How late SVIDs were renewed, of those that were due.',
    [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600],
    'kind',
  ),
  mayfly_revocations_total: counter('SVIDs that were revoked.', 'kind', 'reason'),
  mayfly_revocation_delay_seconds: histogram(
    'For how long the first of the revocations in lists that went out had waited.',
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  ),
  mayfly_ledger_flush_duration_seconds: histogram('How long a write took until it was durable.', MOMENTS, 'stream'),
  mayfly_calls_total: counter('Calls that ended, by the name of their gRPC status.', 'service', 'method', 'code'),
  mayfly_stream_messages_total: counter('Messages that were sent on streams.', 'service', 'method'),
  mayfly_http_requests_total: counter('Requests for metrics and probes.', 'path', 'code'),
} as const;

type Measured = keyof typeof MEASURED;

/** Counts and times what happens. Labels are of closed sets, or of entries that are configured: nothing that a caller writes. */
export class Measurements implements LeaseObserver, RevocationObserver, CallObserver {
  readonly #entries: EntryLabels;
  readonly #registry: Registry;
  readonly #attestations: Histogram;
  readonly #issued: Counter;
  readonly #refused: Counter;
  readonly #failed: Counter;
  readonly #issueTime: Histogram;
  readonly #lateness: Histogram;
  readonly #revoked: Counter;
  readonly #delay: Histogram;
  readonly #flushes: Histogram;
  readonly #calls: Counter;
  readonly #messages: Counter;
  readonly #requests: Counter;
  /** By the path of a method: the labels of its calls. */
  readonly #methods = new Map<string, { readonly service: string; readonly method: string }>();

  constructor(registry: Registry, entries: EntryLabels) {
    this.#entries = entries;
    this.#registry = registry;
    this.#attestations = this.#histogram('mayfly_attestation_duration_seconds');
    this.#issued = this.#counter('mayfly_svids_issued_total');
    this.#refused = this.#counter('mayfly_svids_refused_total');
    this.#failed = this.#counter('mayfly_svids_failed_total');
    this.#issueTime = this.#histogram('mayfly_svid_issue_duration_seconds');
    this.#lateness = this.#histogram('mayfly_svid_renewal_lateness_seconds');
    this.#revoked = this.#counter('mayfly_revocations_total');
    this.#delay = this.#histogram('mayfly_revocation_delay_seconds');
    this.#flushes = this.#histogram('mayfly_ledger_flush_duration_seconds');
    this.#calls = this.#counter('mayfly_calls_total');
    this.#messages = this.#counter('mayfly_stream_messages_total');
    this.#requests = this.#counter('mayfly_http_requests_total');
    // What is not there before its first time has not increased by it, for Prometheus.
    for (const kind of KINDS) {
      this.#refused.inc({ entry: entries.of(undefined), kind, reason: 'no_entry' }, 0);
      for (const reason of REVOCATION_REASONS) this.#revoked.inc({ kind, reason }, 0);
    }
  }

  issued({ entry, kind }: Decided, occasion: Occasion, ms: number): void {
    this.#issued.inc({ entry: this.#entries.of(entry), kind, occasion });
    this.#issueTime.observe({ kind }, seconds(ms));
  }

  refused({ entry, kind }: Decided, rule: string): void {
    this.#refused.inc({ entry: this.#entries.of(entry), kind, reason: rule });
  }

  failed({ entry, kind }: Decided, code: ErrorCode): void {
    this.#failed.inc({ entry: this.#entries.of(entry), kind, code });
  }

  renewed(kind: FollowedKind, ms: number): void {
    this.#lateness.observe({ kind }, seconds(ms));
  }

  revoked(counts: Readonly<Record<SvidKind, number>>, reason: RevocationReason): void {
    for (const kind of KINDS) this.#revoked.inc({ kind, reason }, counts[kind]);
  }

  published(ms: number): void {
    this.#delay.observe(seconds(ms));
  }

  ended(path: string, code: string): void {
    this.#calls.inc({ ...this.#method(path), code });
  }

  sent(path: string): void {
    this.#messages.inc(this.#method(path));
  }

  attested(attestor: string, ms: number): void {
    this.#attestations.observe({ attestor }, seconds(ms));
  }

  flushed(stream: Stream, ms: number): void {
    this.#flushes.observe({ stream }, seconds(ms));
  }

  answered(path: string, status: number): void {
    this.#requests.inc({ path, code: String(status) });
  }

  /** Methods that are served: gRPC itself refuses all others, of which nobody tells this. */
  #method(path: string): { readonly service: string; readonly method: string } {
    let labels = this.#methods.get(path);
    if (labels === undefined) {
      const [, service = '', method = ''] = path.split('/');
      labels = { service, method };
      this.#methods.set(path, labels);
    }
    return labels;
  }

  #counter(name: Measured): Counter {
    const { help, labels } = MEASURED[name];
    return new Counter({ name, help, labelNames: [...labels], registers: [this.#registry] });
  }

  #histogram(name: Measured): Histogram {
    const { buckets, help, labels } = MEASURED[name];
    return new Histogram({ name, help, labelNames: [...labels], buckets: [...buckets], registers: [this.#registry] });
  }
}
