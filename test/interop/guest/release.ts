import { globSync } from 'node:fs';
import { join } from 'node:path';
import { tool } from '../toolchains.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');

/** Makes the archive that a user downloads from this clone. @param directory for it @returns its path */
export async function releaseArchive(directory: string): Promise<string> {
  const program = join(ROOT, 'deploy/release/release.ts');
  await tool(process.execPath, [program, '--platform', 'amd64', '--to', directory], ROOT);
  const [file = ''] = globSync('mayfly-*-linux-amd64.tar.gz', { cwd: directory });
  return join(directory, file);
}
