import { status } from '@grpc/grpc-js';
import type { ErrorCode } from '../kernel/errors.ts';
import { asError, isMayflyError, MayflyError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { CallStatus } from './status.ts';
import { statusOf } from './status.ts';

/** Why a call is aborted whose client has gone: nobody is there to be told, so one for all spares a stack trace a call. */
export const CLIENT_GONE = new MayflyError('NO_IDENTITY', 'the client has gone');

// The caller is told too little to help himself, or is a proxy that nobody watches. The other errors are the caller's own mistakes.
const WORTH_A_WARNING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'NO_IDENTITY',
  'SECRET_NOT_AUTHORIZED',
  'CALLER_UNKNOWN',
  'ATTESTATION_FAILED',
  'AUTHORITY_UNAVAILABLE',
  'OVERLOADED',
  'DISK_FULL',
]);

/** What is made of an error that ends a call: a status for the client, and for the operator a line that says why. */
export class CallFailures {
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  /**
   * The status for an error, once it is in the log.
   *
   * @param served whether the call was already given something: its end is then the way of things, and told elsewhere
   */
  told(error: unknown, path: string, served: boolean): CallStatus {
    const told = statusOf(error);
    const message = `${path}: ${asError(error).message}`;
    if (told.code === status.INTERNAL) {
      this.#log.error('serve.failed', `${path} failed`, { path, error: asError(error) });
    } else if (served || error === CLIENT_GONE || !isMayflyError(error) || !WORTH_A_WARNING.has(error.code)) {
      this.#log.debug('serve.refused', message, { path });
    } else {
      this.#log.warn('serve.refused', `${message}${causesOf(error)}`, { path, reason: error.code });
    }
    return told;
  }
}

/** What is underneath an error, as the tail of its sentence. */
function causesOf(error: Error): string {
  return error.cause instanceof Error ? `: ${error.cause.message}${causesOf(error.cause)}` : '';
}
