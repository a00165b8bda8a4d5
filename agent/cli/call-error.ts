import type { Stats } from 'node:fs';
import { statSync } from 'node:fs';
import type { ServiceError } from '@grpc/grpc-js';
import { status } from '@grpc/grpc-js';
import { formatDuration } from '../kernel/duration.ts';
import type { ErrorCode } from '../kernel/errors.ts';
import { MayflyError, messageOf } from '../kernel/errors.ts';
import { ownSelectors } from './own-selectors.ts';
import type { AgentSocket } from './socket.ts';

const START = "start it with 'npm start', or with 'mayfly run --config FILE'";

/** The statuses of which the agent's own words are the reason that a person needs. */
const CODES: Readonly<Partial<Record<status, ErrorCode>>> = {
  [status.INVALID_ARGUMENT]: 'INVALID_REQUEST',
  [status.NOT_FOUND]: 'NOT_FOUND',
  [status.RESOURCE_EXHAUSTED]: 'OVER_LIMIT',
  [status.UNAVAILABLE]: 'AUTHORITY_UNAVAILABLE',
};

/** What agents answer UNAVAILABLE with, where it has a name of its own. */
const UNAVAILABLE: ReadonlyMap<string, ErrorCode> = new Map([
  ['the agent is stopping', 'SHUTTING_DOWN'],
  ['workload attestation failed', 'ATTESTATION_FAILED'],
]);

/** Turns what a call came back with into a sentence for the person who made it. */
export function callError(error: unknown, socket: AgentSocket): MayflyError {
  if (error instanceof MayflyError) return error;
  if (!isServiceError(error))
    return new MayflyError('INTERNAL', `the call failed: ${messageOf(error)}`, { cause: error });
  const { code, details } = error;
  if (code === status.UNAVAILABLE) {
    const connecting = /No connection established|ECONNRESET|EPIPE|socket hang up|Connection dropped/i.test(details);
    if (connecting) return unreachable(details, socket, error);
  }
  if (code === status.PERMISSION_DENIED) return refused(details, error);
  if (code === status.UNIMPLEMENTED) {
    return new MayflyError('NOT_OFFERED', `the agent at ${socket.path} does not offer this: ${details}`, {
      cause: error,
    });
  }
  const known = (code === status.UNAVAILABLE ? UNAVAILABLE.get(details) : undefined) ?? CODES[code];
  if (known === undefined) {
    return new MayflyError('INTERNAL', `the agent at ${socket.path} failed, its log says why: ${details}`, {
      cause: error,
    });
  }
  if (code === status.NOT_FOUND) return new MayflyError(known, details, { cause: error });
  const later = code === status.UNAVAILABLE || code === status.RESOURCE_EXHAUSTED ? '; try again in a moment' : '';
  return new MayflyError(known, `the agent cannot do this: ${details}${later}`, { cause: error });
}

/** The agent took the call and said nothing for `timeout` milliseconds. */
export function unanswered(socket: AgentSocket, timeout: number): MayflyError {
  return new MayflyError(
    'AGENT_UNREACHABLE',
    `the agent at ${socket.path} did not answer within ${formatDuration(timeout)}; look at its log, or wait longer with --timeout`,
  );
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' && 'details' in error;
}

function unreachable(details: string, socket: AgentSocket, cause: unknown): MayflyError {
  const place = `${socket.path} (from ${socket.from})`;
  // grpc-js keeps of the connection's error only its text.
  const reason = /\b(?:connect|write|read) (E[A-Z]+)\b/.exec(details)?.[1];
  if (reason === 'ECONNREFUSED' && statOf(socket.path)?.isSocket() === false) {
    return new MayflyError('AGENT_UNREACHABLE', `${place} is no socket; name the agent's`, { cause });
  }
  switch (reason) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ECONNREFUSED':
      return new MayflyError('AGENT_UNREACHABLE', `no agent is running at ${place}: ${START}`, { cause });
    case 'EACCES':
    case 'EPERM':
      return new MayflyError('PERMISSION_MISSING', `uid ${uid()} may not open ${place}: ${remedy(socket)}`, { cause });
    case undefined:
    default:
      return new MayflyError('AGENT_UNREACHABLE', `the connection to ${place} failed: ${details}`, { cause });
  }
}

function remedy(socket: AgentSocket): string {
  if (socket.kind === 'api') return 'let it reach that directory, or name another socket with --socket PATH';
  const owner = statOf(socket.path)?.uid;
  return `the admin socket is for the agent's own user; run this as ${owner === undefined ? 'that user' : `uid ${owner}`}`;
}

/** The agent tells a stranger nothing but the refusal, so the sentence says what a caller can know of itself. */
function refused(details: string, cause: unknown): MayflyError {
  if (details !== 'no identity issued') {
    return new MayflyError('NO_IDENTITY', `the agent refused: ${details}`, { cause });
  }
  return new MayflyError(
    'NO_IDENTITY',
    `no identity issued: no entry matches this process (${ownSelectors()}), or it is refused what one gives; see 'mayfly entries' and, for the reason, 'mayfly audit tail'`,
    { cause },
  );
}

function uid(): string {
  return String(process.geteuid?.());
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    // It is gone, or its directory is closed to us.
    return undefined;
  }
}
