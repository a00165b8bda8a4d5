/**
 * Everything that can go wrong by name. The set is closed: `serve/status.ts` maps every code to a gRPC status and to what the
 * caller may learn, and a code without a row there does not compile.
 */
export type ErrorCode =
  // What somebody wrote is not what the grammar allows.
  | 'INVALID_SPIFFE_ID'
  | 'INVALID_TRUST_DOMAIN'
  | 'INVALID_SELECTOR'
  | 'INVALID_AUDIENCE'
  | 'INVALID_DURATION'
  | 'INVALID_SIZE'
  | 'INVALID_CONFIG'
  | 'INVALID_BUNDLE'
  | 'INVALID_REQUEST'
  | 'INVALID_USAGE'
  // A call on a socket.
  | 'SECURITY_HEADER_MISSING'
  | 'AUDIENCE_MISSING'
  | 'SVID_MISSING'
  | 'SECRET_NOT_AUTHORIZED'
  | 'TOKEN_INVALID'
  | 'NO_IDENTITY'
  | 'POLICY_REFUSED'
  | 'REISSUE_BARRED'
  | 'CALLER_UNKNOWN'
  | 'ATTESTATION_FAILED'
  | 'AUTHORITY_UNAVAILABLE'
  | 'OVER_LIMIT'
  | 'OVERLOADED'
  | 'SHUTTING_DOWN'
  | 'NOT_FOUND'
  | 'NOT_OFFERED'
  // The machine that the agent runs on.
  | 'SOCKET_IN_USE'
  | 'SOCKET_UNSAFE'
  | 'DATA_DIR_LOCKED'
  | 'DATA_DIR_UNSAFE'
  | 'DATA_DIR_DAMAGED'
  | 'DISK_FULL'
  | 'PERMISSION_MISSING'
  | 'KERNEL_UNSUPPORTED'
  // A client of the agent's sockets.
  | 'AGENT_UNREACHABLE'
  | 'INTERNAL';

/**
 * The one error class. The message is one sentence for the person who reads it: what was wrong, where, what is allowed, what to
 * do. It never holds a key, a token or an environment value. `cause` keeps what was underneath, for the log only.
 */
export class MayflyError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'MayflyError';
    this.code = code;
  }
}

/** True for a {@link MayflyError}, and with `code` for one of that code. */
export function isMayflyError(error: unknown, code?: ErrorCode): error is MayflyError {
  return error instanceof MayflyError && (code === undefined || error.code === code);
}

/** The message of anything thrown, for a log line or the tail of a sentence. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Anything thrown as an error, for a log that shows its stack. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** The system's code (`ENOENT`, `EACCES`, …) of an error that Node made from a failed system call, else `undefined`. */
export function systemCodeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** Whether the disk, or the user's share of it, is used up. */
export function isLackOfRoom(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes(systemCodeOf(error) ?? '');
}
