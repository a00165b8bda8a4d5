import type { Stats } from 'node:fs';
import { closeSync, openSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { Admin } from '../gen/admin_pb.js';
import { isMayflyError, MayflyError, systemCodeOf } from '../kernel/errors.ts';
import type { Stream } from '../ledger/segments.ts';
import { segmentsOf } from '../ledger/segments.ts';
import { connectAdmin } from './client.ts';
import type { Invocation } from './invocation.ts';

/** Where a ledger is. */
export interface PlaceOptions {
  readonly config?: string;
  readonly dataDir?: string;
}

/** Which of a ledger's two chains is meant. */
export interface StreamOptions {
  readonly use?: true;
}

const OTHERWISE = 'or name the files with --config FILE or --data-dir PATH';

/** Adds what every command on a ledger's files takes. */
export function withPlace(command: Command): Command {
  return command
    .option(
      '--config <file>',
      "the agent's configuration, which says where the ledger is (default: the agent is asked)",
    )
    .option('--data-dir <path>', "the agent's data_dir, instead of its configuration");
}

export function streamOf({ use }: StreamOptions): Stream {
  return use === undefined ? 'issuance' : 'use';
}

/**
 * The directory with the ledger's files: in the `data_dir` that is named or configured, else where the running agent says.
 *
 * @throws MayflyError `INVALID_USAGE`, `INVALID_CONFIG`; `AGENT_UNREACHABLE` when nothing is named and no agent runs; `NOT_FOUND`
 *   where no ledger is; `PERMISSION_MISSING`
 */
export async function ledgerDirectory(invocation: Invocation<PlaceOptions>): Promise<string> {
  const directory = await namedDirectory(invocation);
  try {
    const newest = segmentsOf(directory, 'issuance').at(-1);
    if (newest !== undefined) {
      // Whoever may list the files need not be one who may read them.
      closeSync(openSync(newest.path, 'r'));
      return directory;
    }
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'EACCES' || code === 'EPERM') throw forbidden(directory, error);
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error;
  }
  throw new MayflyError('NOT_FOUND', `no ledger is in ${directory}; name the data_dir of an agent that has run`);
}

async function namedDirectory(invocation: Invocation<PlaceOptions>): Promise<string> {
  const { options, terminal } = invocation;
  const { config, dataDir } = options;
  if (config !== undefined && dataDir !== undefined) {
    throw new MayflyError('INVALID_USAGE', '--config and --data-dir name two places; give one of them');
  }
  if (dataDir !== undefined) return join(resolve(terminal.cwd, dataDir), 'ledger');
  if (config === undefined) return await agentsDirectory(invocation);
  // Much code, and only this way needs it.
  const { loadConfig } = await import('../config/load.ts');
  const path = resolve(terminal.cwd, config);
  return join((await loadConfig({ path, env: { ...terminal.env } })).dataDir, 'ledger');
}

async function agentsDirectory(invocation: Invocation): Promise<string> {
  try {
    using client = connectAdmin(invocation);
    const { ledger } = await client.unary(Admin.method.getStatus, {});
    if (ledger !== undefined && ledger.directory !== '') return ledger.directory;
  } catch (error) {
    if (!isMayflyError(error, 'AGENT_UNREACHABLE')) throw error;
    throw new MayflyError('AGENT_UNREACHABLE', `${error.message}; ${OTHERWISE}`, { cause: error });
  }
  throw new MayflyError('NOT_OFFERED', `this agent does not say where its ledger is; ${OTHERWISE}`);
}

function forbidden(directory: string, cause: unknown): MayflyError {
  const owner = ownerOf(directory);
  const who = owner === undefined ? 'that user' : owner === 0 ? 'root' : `uid ${owner}`;
  return new MayflyError(
    'PERMISSION_MISSING',
    `uid ${process.geteuid?.()} may not read ${directory}: it is for the agent's own user; run this as ${who}`,
    { cause },
  );
}

/** Who owns the nearest directory on the way that may be looked at. */
function ownerOf(path: string): number | undefined {
  const stat = statOf(path);
  if (stat !== undefined) return stat.uid;
  return path === dirname(path) ? undefined : ownerOf(dirname(path));
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}
