import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Context } from '../attest/context.ts';
import { withoutSecret } from '../attest/engine/docker-vocabulary.ts';
import type { Admin, AttestRequest, AttestResponseSchema, GetStatusResponseSchema } from '../gen/admin_pb.js';
import { isMayflyError, MayflyError, messageOf } from '../kernel/errors.ts';
import type { Latest } from '../kernel/latest.ts';
import type { Selector } from '../kernel/selector.ts';
import type { Drill, Drilled, Reached } from '../lease/drill.ts';
import type { Lease } from '../lease/lease.ts';
import type { Leases } from '../lease/leases.ts';
import type { Operator, RevokedLease } from '../lease/operator.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Instances } from '../peer/process.ts';
import type { Entry } from '../registry/entry.ts';
import type { EntrySet } from '../registry/entry-set.ts';
import type { Inspector } from '../registry/inspection.ts';
import { identityOf, type WrittenEntry } from '../registry/written-entry.ts';
import { formatBundle } from '../svid/bundle-json.ts';
import type { TrustBundle } from '../svid/trust-bundle.ts';
import type { Events } from './event-stream.ts';
import { streamEvents } from './event-stream.ts';
import type { Handlers } from './handlers.ts';
import { drilledText, drillTarget, revocationOrder, revocationTarget } from './revocation-order.ts';

/** What the composition root lends to operators: everything that no single stage knows. */
export interface AdminParts {
  readonly status: () => MessageInitShape<typeof GetStatusResponseSchema>;
  readonly entries: Latest<EntrySet>;
  readonly leases: Leases;
  /** Reads all files again; a sentence for each that could not be loaded. */
  readonly reload: () => Promise<readonly string[]>;
  readonly operator: Operator;
  /** Where processes are held that an operator asks about. */
  readonly instances: Pick<Instances, 'find'>;
  readonly inspector: Inspector;
  /** Whether a process is kept from an entry. */
  readonly isBarred: (instance: ProcessInstance, entryId: string) => boolean;
  readonly drill: Drill;
  readonly events: Events;
  /** Of the own trust domain. */
  readonly bundle: Latest<TrustBundle>;
}

const DRILL_WAIT_MS = 5000;
const LONGEST_DRILL_MS = 3_600_000;

/** The admin socket's service. Who may call is decided by the socket's mode: it is the agent's own user alone. */
export function admin(parts: AdminParts): Handlers<typeof Admin, unknown> {
  return {
    getStatus: () => parts.status(),
    listEntries() {
      const set = parts.entries.value;
      return { entries: (set?.entries ?? []).map(entryMessage), digest: set?.digest ?? '' };
    },
    listLeases: () => ({
      leases: [...parts.leases].map((lease) => leaseMessage(lease, parts.leases.contextOf(lease))),
    }),
    attest: (request) => attestation(parts, request),
    reload: async () => ({ errors: [...(await parts.reload())] }),
    revoke(request) {
      const { revoked, allowed } = parts.operator.revoke(revocationTarget(request), revocationOrder(request));
      return { revoked: revoked.map(revokedMessage), allowed };
    },
    watchEvents: (request, call) => streamEvents(parts.events, request, call.signal),
    async *watchBundle(_request, { signal }) {
      for await (const bundle of parts.bundle.follow(signal)) {
        yield { trustDomain: bundle.trustDomain, bundle: formatBundle(bundle) };
      }
    },
    async drill(request) {
      const isMeant = drillTarget(request);
      const leases = [...parts.leases].filter(({ instance, entry }) =>
        isMeant({ pid: instance.pid, entryId: entry.id }),
      );
      if (leases.length === 0) {
        throw new MayflyError(
          'NOT_FOUND',
          `no lease of ${drilledText(request)} lives; mayfly leases shows what there is`,
        );
      }
      const signal = AbortSignal.timeout(Math.min(request.waitMs || DRILL_WAIT_MS, LONGEST_DRILL_MS));
      const { drilled, reached } = await parts.drill[request.revoke ? 'revoke' : 'rotate'](leases, signal);
      return { leases: drilled.map(drilledMessage), subscribers: reached.map(reachedMessage) };
    },
  };
}

async function attestation(
  { inspector, instances, isBarred }: AdminParts,
  { entryId, pid }: AttestRequest,
): Promise<MessageInitShape<typeof AttestResponseSchema>> {
  if (pid <= 0) throw new MayflyError('INVALID_REQUEST', 'no process is named');
  const held = instances.find(pid);
  if (held.kind === 'unidentified') throw new MayflyError('NOT_FOUND', held.detail);
  const { instance } = held;
  const process = () => ({ pid, uid: instance.uid, gid: instance.gid, executable: instance.facts().executable ?? '' });
  try {
    const { attested, entries, misfits, whyNot } = await inspector.inspect(instance, entryId);
    return {
      ...process(),
      selectors: shownOf(attested.selectors, entries),
      ...attested.context,
      entries: entries.map(({ dnsNames, hint, id, spiffeId }) => {
        return { id, spiffeId, dnsNames: [...dnsNames], hint, barred: isBarred(instance, id) };
      }),
      refused: misfits.map((misfit) => `entry ${misfit.entryId}: ${misfit.message}`),
      whyNot: [...whyNot],
    };
  } catch (error) {
    // Who looks after the agent is told what its callers are not.
    if (!isMayflyError(error, 'ATTESTATION_FAILED')) throw error;
    return { ...process(), failure: messageOf(error.cause ?? error) };
  } finally {
    held.release();
  }
}

/** As in the ledger, what may be a password is told where an entry asks for it. */
function shownOf(selectors: ReadonlySet<Selector>, entries: readonly Entry[]): string[] {
  const asked = new Set(entries.flatMap((entry) => entry.selectors));
  return Array.from(selectors, (selector) => (asked.has(selector) ? selector : withoutSecret(selector)));
}

function revokedMessage({ barred, ended, jtis, lease, serials }: RevokedLease) {
  return {
    leaseId: lease.id,
    pid: lease.instance.pid,
    entryId: lease.entry,
    spiffeId: lease.spiffeId,
    serials: [...serials],
    jtis: [...jtis],
    ended,
    barred,
  };
}

function drilledMessage({ kind, lease, ms, newId = '', oldId }: Drilled) {
  return {
    pid: lease.instance.pid,
    entryId: lease.entry.id,
    spiffeId: lease.entry.spiffeId,
    ...(kind === 'x509' ? { oldSerial: oldId, newSerial: newId } : { oldJti: oldId, newJti: newId }),
    issuedMs: ms,
  };
}

function reachedMessage({ ms, subscriber, told, what }: Reached) {
  return { pid: subscriber.instance.pid, method: subscriber.method, what, told, ms };
}

function entryMessage(entry: WrittenEntry) {
  const { dnsNames, spiffeId } = identityOf(entry);
  return {
    id: entry.id,
    spiffeId,
    selectors: [...entry.selectors],
    owner: entry.owner ?? '',
    x509SvidTtl: Math.round((entry.x509SvidTtl ?? 0) / 1000),
    jwtSvidTtl: Math.round((entry.jwtSvidTtl ?? 0) / 1000),
    witSvidTtl: Math.round((entry.witSvidTtl ?? 0) / 1000),
    dnsNames: [...dnsNames],
    hint: entry.hint,
    federatesWith: [...entry.federatesWith],
    source: entry.source,
    ...(entry.expiresAt !== undefined && { expiresAt: timestampFromMs(entry.expiresAt) }),
  };
}

function leaseMessage(lease: Lease, context: Context) {
  const { wit, x509 } = lease;
  const failure = x509.failure ?? wit.failure;
  return {
    id: lease.id,
    pid: lease.instance.pid,
    uid: lease.instance.uid,
    entryId: lease.entry.id,
    spiffeId: lease.entry.spiffeId,
    serial: x509.currentId ?? '',
    wit: wit.currentId ?? '',
    createdAt: timestampFromMs(lease.createdAt),
    expiresAt: timestampFromMs(lease.expiresAt),
    tokens: lease.tokens.issued,
    rotations: x509.rotations,
    witRotations: wit.rotations,
    renewalError: failure === undefined ? '' : messageOf(failure.error),
    adopted: lease.adopted,
    executable: lease.instance.facts().executable ?? '',
    ...context,
    ...(x509.current !== undefined && { renewsAt: timestampFromMs(x509.renewsAt) }),
    ...(wit.current !== undefined && { witRenewsAt: timestampFromMs(wit.renewsAt) }),
    ...(lease.deliveredAt !== undefined && { deliveredAt: timestampFromMs(lease.deliveredAt) }),
  };
}
