import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';

/**
 * Generates the protobuf code anew, into a folder of its own, and compares it with what is committed.
 *
 * @returns the files that were compared, and a sentence for each that differs
 */
export function checkGenerated(root: string): { files: number; problems: readonly string[] } {
  const fresh = mkdtempSync(join(tmpdir(), 'mayfly-gen-'));
  try {
    // The output is `../agent/gen` of where it is run: the same shape is made in the temporary folder.
    const buf = spawnSync('buf', ['generate', '--output', join(fresh, 'proto')], {
      cwd: join(root, 'proto'),
      encoding: 'utf8',
    });
    if (buf.status !== 0) return { files: 0, problems: [`buf generate failed: ${buf.stderr}`] };
    const made = join(fresh, 'agent', 'gen');
    const committed = join(root, 'agent', 'gen');
    const names = [...new Set([...filesIn(made), ...filesIn(committed)])];
    const differs = names.filter((name) => contentOf(join(made, name)) !== contentOf(join(committed, name)));
    return {
      files: names.length,
      problems: differs.map((name) => `agent/gen/${name} is not what proto/ generates; run npm run generate`),
    };
  } finally {
    rmSync(fresh, { recursive: true });
  }
}

/** Their paths below `directory`. */
function filesIn(directory: string): string[] {
  const found = readdirSync(directory, { recursive: true, withFileTypes: true });
  return found
    .filter((each) => each.isFile())
    .map(({ name, parentPath }) => relative(directory, join(parentPath, name)));
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
