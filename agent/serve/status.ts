import { status } from '@grpc/grpc-js';
import type { ErrorCode } from '../kernel/errors.ts';
import { isMayflyError } from '../kernel/errors.ts';

/** A gRPC status as it goes to the client. */
export interface CallStatus {
  readonly code: status;
  readonly details: string;
}

/** What the client of a call may learn: the error's own sentence, or only this one. */
type Row = readonly [status, 'its message' | { readonly fixed: string }];

const NO_IDENTITY: Row = [status.PERMISSION_DENIED, { fixed: 'no identity issued' }];
const INTERNAL: Row = [status.INTERNAL, { fixed: 'internal error; the agent logged it' }];

/**
 * The one table from errors to gRPC statuses. The texts that are fixed are those that clients match on (`no identity issued`), or
 * they keep back what would tell a stranger why: that is in the agent's log.
 */
const TABLE: Readonly<Record<ErrorCode, Row>> = {
  SECURITY_HEADER_MISSING: [status.INVALID_ARGUMENT, { fixed: 'security header missing from request' }],
  AUDIENCE_MISSING: [status.INVALID_ARGUMENT, { fixed: 'audience must be specified' }],
  SVID_MISSING: [status.INVALID_ARGUMENT, { fixed: 'svid must be specified' }],
  SECRET_NOT_AUTHORIZED: [status.INVALID_ARGUMENT, 'its message'],
  INVALID_SPIFFE_ID: [status.INVALID_ARGUMENT, 'its message'],
  INVALID_TRUST_DOMAIN: [status.INVALID_ARGUMENT, 'its message'],
  INVALID_SELECTOR: [status.INVALID_ARGUMENT, 'its message'],
  INVALID_AUDIENCE: [status.INVALID_ARGUMENT, 'its message'],
  INVALID_REQUEST: [status.INVALID_ARGUMENT, 'its message'],
  TOKEN_INVALID: [status.INVALID_ARGUMENT, 'its message'],
  NO_IDENTITY,
  POLICY_REFUSED: NO_IDENTITY,
  REISSUE_BARRED: NO_IDENTITY,
  CALLER_UNKNOWN: NO_IDENTITY,
  ATTESTATION_FAILED: [status.UNAVAILABLE, { fixed: 'workload attestation failed' }],
  AUTHORITY_UNAVAILABLE: [status.UNAVAILABLE, { fixed: 'the authority cannot sign now' }],
  OVER_LIMIT: [status.RESOURCE_EXHAUSTED, 'its message'],
  OVERLOADED: [status.UNAVAILABLE, 'its message'],
  SHUTTING_DOWN: [status.UNAVAILABLE, { fixed: 'the agent is stopping' }],
  NOT_FOUND: [status.NOT_FOUND, 'its message'],
  NOT_OFFERED: [status.UNIMPLEMENTED, 'its message'],
  DISK_FULL: [status.UNAVAILABLE, { fixed: 'the agent has no room to record what it issues' }],
  // What follows does not come out of a call; if it does, it is a defect.
  INVALID_DURATION: INTERNAL,
  INVALID_SIZE: INTERNAL,
  INVALID_CONFIG: INTERNAL,
  INVALID_BUNDLE: INTERNAL,
  INVALID_USAGE: INTERNAL,
  SOCKET_IN_USE: INTERNAL,
  SOCKET_UNSAFE: INTERNAL,
  DATA_DIR_LOCKED: INTERNAL,
  DATA_DIR_UNSAFE: INTERNAL,
  DATA_DIR_DAMAGED: INTERNAL,
  PERMISSION_MISSING: INTERNAL,
  KERNEL_UNSUPPORTED: INTERNAL,
  AGENT_UNREACHABLE: INTERNAL,
  INTERNAL,
};

/** The status for anything thrown. What is no {@link MayflyError} is a defect and tells the client nothing of itself. */
export function statusOf(error: unknown): CallStatus {
  const [code, details] = isMayflyError(error) ? TABLE[error.code] : INTERNAL;
  if (details !== 'its message') return { code, details: details.fixed };
  return { code, details: isMayflyError(error) ? error.message : '' };
}
