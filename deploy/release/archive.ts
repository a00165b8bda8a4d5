import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/** Runs tar without what the environment tells it and gzip: `TAR_OPTIONS` and `GZIP` would change the bytes. */
function run(args: readonly string[]): Promise<unknown> {
  return execute('tar', args, { env: { PATH: process.env['PATH'] } });
}

/** Files of one owner, with all that is below them. */
export interface Owned {
  /** The number of the user and the group. */
  readonly owner: number;
  /** Where the names are. */
  readonly folder: string;
  readonly names: readonly string[];
}

/**
 * Packs files so that the same content comes to the same bytes: in the order of their names, all of one time, and compressed by the
 * program whose output is the same on each machine, which zlib's is not.
 *
 * @param date of every file
 * @param to the `.tar.gz` that is made
 * @returns its SHA-256
 */
export async function pack(files: Owned, date: string, to: string): Promise<string> {
  await run(['--create', '--use-compress-program=gzip -n', ...flags(files, date), '--file', to, ...files.names]);
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(to)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** Makes a layer of an image in the same way, uncompressed. @param to the `.tar` that is made */
export async function layer([first, ...others]: readonly [Owned, ...Owned[]], date: string, to: string): Promise<void> {
  await run(['--create', ...flags(first, date), '--file', to, ...first.names]);
  for (const more of others) await run(['--append', ...flags(more, date), '--file', to, ...more.names]);
}

function flags({ owner, folder }: Owned, date: string): readonly string[] {
  const whose = [`--owner=${owner}`, `--group=${owner}`, '--numeric-owner'];
  return ['--format=ustar', '--sort=name', `--mtime=${date}`, ...whose, '--directory', folder];
}
