import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Admin, GetStatusResponseSchema } from '../gen/admin_pb.js';
import { messageOf } from '../kernel/errors.ts';
import type { Latest } from '../kernel/latest.ts';
import type { Lease } from '../lease/lease.ts';
import type { Leases } from '../lease/leases.ts';
import type { Entry } from '../registry/entry.ts';
import type { EntrySet } from '../registry/entry-set.ts';
import type { Handlers } from './handlers.ts';

/** What the composition root lends to operators: everything that no single stage knows. */
export interface AdminParts {
  readonly status: () => MessageInitShape<typeof GetStatusResponseSchema>;
  readonly entries: Latest<EntrySet>;
  readonly leases: Leases;
  /** Reads all files again; a sentence for each that could not be loaded. */
  readonly reload: () => Promise<readonly string[]>;
}

/** The admin socket's service. Who may call is decided by the socket's mode: it is the agent's own user alone. */
export function admin(parts: AdminParts): Handlers<typeof Admin, unknown> {
  return {
    getStatus: () => parts.status(),
    listEntries() {
      const set = parts.entries.value;
      return { entries: (set?.entries ?? []).map(entryMessage), digest: set?.digest ?? '' };
    },
    listLeases: () => ({ leases: [...parts.leases].map(leaseMessage) }),
    reload: async () => ({ errors: [...(await parts.reload())] }),
  };
}

function entryMessage(entry: Entry) {
  return {
    id: entry.id,
    spiffeId: entry.spiffeId,
    selectors: [...entry.selectors],
    owner: entry.owner ?? '',
    x509SvidTtl: Math.round((entry.x509SvidTtl ?? 0) / 1000),
    jwtSvidTtl: Math.round((entry.jwtSvidTtl ?? 0) / 1000),
    dnsNames: [...entry.dnsNames],
    hint: entry.hint,
    federatesWith: [...entry.federatesWith],
    source: entry.source,
    ...(entry.expiresAt !== undefined && { expiresAt: timestampFromMs(entry.expiresAt) }),
  };
}

function leaseMessage(lease: Lease) {
  const svid = lease.x509;
  return {
    id: lease.id,
    pid: lease.instance.pid,
    uid: lease.instance.uid,
    entryId: lease.entry.id,
    spiffeId: lease.entry.spiffeId,
    serial: svid?.serial ?? '',
    createdAt: timestampFromMs(lease.createdAt),
    expiresAt: timestampFromMs(lease.expiresAt),
    tokens: lease.tokens.issued,
    rotations: lease.rotations,
    renewalError: lease.failure === undefined ? '' : messageOf(lease.failure.error),
    ...(svid !== undefined && { renewsAt: timestampFromMs(lease.renewsAt) }),
  };
}
