import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { tool } from '../toolchains.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');

/** The archive that a user downloads, made from this clone. @param directory for it */
export async function releaseArchive(directory: string): Promise<Buffer> {
  const program = join(ROOT, 'deploy/release/release.ts');
  await tool(process.execPath, [program, '--platform', 'amd64', '--to', directory], ROOT);
  const [file = ''] = globSync('mayfly-*-linux-amd64.tar.gz', { cwd: directory });
  return readFileSync(join(directory, file));
}
