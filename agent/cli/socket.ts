import { closeSync, fstatSync, openSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { MayflyError, systemCodeOf } from '../kernel/errors.ts';
import type { GlobalOptions } from './invocation.ts';
import type { Terminal } from './terminal.ts';

/** Where the agent listens, and who says so. */
export interface AgentSocket {
  readonly kind: 'api' | 'admin';
  /** Absolute. */
  readonly path: string;
  /** `--socket`, `SPIFFE_ENDPOINT_SOCKET`, a file's path: for messages. */
  readonly from: string;
}

type Where = Pick<Terminal, 'env' | 'cwd'>;

const VARIABLE = 'SPIFFE_ENDPOINT_SOCKET';
/** As the agent itself takes it: in its container, both find the socket by it. */
const ADMIN_VARIABLE = 'MAYFLY_ADMIN_SOCKET';
const QUICKSTART = '.mayfly/endpoint.json';
const SYSTEM = { socket: '/run/mayfly/api.sock', admin_socket: '/run/mayfly/admin.sock' };
const START = "start one with 'npm start', or with 'mayfly run --config FILE'";

/**
 * Finds the Workload API: `--socket`, then `SPIFFE_ENDPOINT_SOCKET`, then the quickstart of the working directory, then
 * `/run/mayfly/api.sock`.
 *
 * @throws MayflyError `INVALID_USAGE` for an address that is none, `SOCKET_UNSAFE` for a quickstart of somebody else,
 *   `AGENT_UNREACHABLE` when there is nothing
 */
export function findSocket(options: GlobalOptions, where: Where): AgentSocket {
  const found = namedSocket(options, where) ?? quickstart(where, 'socket') ?? system('socket');
  if (found !== undefined) return { kind: 'api', ...found };
  throw new MayflyError(
    'AGENT_UNREACHABLE',
    `no agent is running here: ${START}, or name its socket with --socket PATH`,
  );
}

/**
 * Finds the admin socket: `--admin-socket`, else `admin.sock` beside `--socket` and nowhere else, then `MAYFLY_ADMIN_SOCKET`, then beside the
 * API socket of the environment, then as {@link findSocket}.
 *
 * @throws MayflyError as {@link findSocket}
 */
export function findAdminSocket(options: GlobalOptions, where: Where): AgentSocket {
  const found = namedAdminSocket(options, where) ?? quickstart(where, 'admin_socket') ?? system('admin_socket');
  if (found !== undefined) return { kind: 'admin', ...found };
  throw new MayflyError(
    'AGENT_UNREACHABLE',
    `no agent's admin socket is here: ${START}, or name the socket with --admin-socket PATH`,
  );
}

type Found = Omit<AgentSocket, 'kind'> | undefined;

function namedSocket(options: GlobalOptions, where: Where): Found {
  if (options.socket !== undefined) return optionPath('--socket', options.socket, where);
  const address = where.env[VARIABLE];
  return address === undefined || address === ''
    ? undefined
    : { path: parseAddress(VARIABLE, address), from: VARIABLE };
}

function namedAdminSocket(options: GlobalOptions, where: Where): Found {
  if (options.adminSocket !== undefined) return optionPath('--admin-socket', options.adminSocket, where);
  const named = where.env[ADMIN_VARIABLE] ?? '';
  if (options.socket === undefined && named !== '') return optionPath(ADMIN_VARIABLE, named, where);
  const api = namedSocket(options, where);
  if (api === undefined) return undefined;
  const path = join(dirname(api.path), 'admin.sock');
  if (exists(path)) return { path, from: `beside ${api.from}` };
  if (options.socket === undefined) return undefined;
  // Another agent is not the one that was named, and may be told to revoke.
  throw new MayflyError(
    'AGENT_UNREACHABLE',
    `no admin socket is at ${path}, beside the one that --socket names; start that agent, or name its admin socket with --admin-socket PATH`,
  );
}

function optionPath(from: string, text: string, { cwd }: Where): Found {
  return { path: /^(?:unix|tcp):/.test(text) ? parseAddress(from, text) : resolve(cwd, text), from };
}

/**
 * SPIFFE Workload Endpoint §4: scheme `unix`, no authority, the absolute path of the socket, and no other component. A `tcp` address
 * is legal there, but nobody can tell over TCP which process is calling.
 */
function parseAddress(from: string, text: string): string {
  const wrong = (problem: string) =>
    new MayflyError('INVALID_USAGE', `${from} ${problem}; write unix:///absolute/path`);
  if (text.startsWith('tcp:')) throw wrong('names a TCP address, and only on a Unix socket the kernel says who calls');
  if (!text.startsWith('unix:')) throw wrong('has no scheme unix');
  if (/[?#]/.test(text)) throw wrong('has a query or a fragment');
  const path = /^unix:(?:\/\/)?(\/[^/].*)$/s.exec(text)?.[1];
  if (path === undefined) throw wrong('has no absolute path, or a host before it');
  try {
    return decodeURIComponent(path);
  } catch {
    throw wrong('has a % that starts no percent-encoded byte');
  }
}

/** What `mayfly dev` leaves in the working directory. */
function quickstart({ cwd }: Where, key: keyof typeof SYSTEM): Found {
  const file = join(cwd, QUICKSTART);
  let text: string;
  try {
    text = readOwn(file);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT' || systemCodeOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
  const path = pathIn(text, key);
  if (path === undefined) {
    throw new MayflyError('AGENT_UNREACHABLE', `${file} names no ${key}: start the quickstart again with 'npm start'`);
  }
  return { path, from: file };
}

/** Whoever lays such a file into a directory where others work would become the one whom they ask whom to trust. */
function readOwn(file: string): string {
  const descriptor = openSync(file, 'r');
  try {
    const { uid, mode } = fstatSync(descriptor);
    if ((uid !== process.geteuid?.() && uid !== 0) || (mode & 0o002) !== 0) {
      throw new MayflyError(
        'SOCKET_UNSAFE',
        `${file} can be written by somebody else; name the socket that you mean with --socket PATH`,
      );
    }
    return readFileSync(descriptor, 'utf8');
  } finally {
    closeSync(descriptor);
  }
}

function pathIn(text: string, key: string): string | undefined {
  try {
    const path: unknown = (JSON.parse(text) as Record<string, unknown>)[key];
    return typeof path === 'string' && path.startsWith('/') ? path : undefined;
  } catch {
    return undefined;
  }
}

function system(key: keyof typeof SYSTEM): Found {
  return exists(SYSTEM[key]) ? { path: SYSTEM[key], from: 'the default' } : undefined;
}

/** True also for what may not be looked at: the error of connecting to it says more. */
function exists(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    return systemCodeOf(error) === 'EACCES';
  }
}
